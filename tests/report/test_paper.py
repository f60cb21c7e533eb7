import subprocess
import sys

import pytest

from blurnb import labels
from blurnb.report import paper


def test_all_published_rows_are_there_in_our_words():
    rows = paper.published()
    assert list(rows["row"]) == list(range(1, 22))
    assert set(rows["training"]) == {"sharp", "mix", "mix per scale"}
    assert set(rows["scale"]) == {"128", "256", "512", "256+512", "unknown"}
    for blur in rows["blur"]:
        labels.family(blur)


def test_published_losses_are_those_that_fix_the_frame():
    """D8 costs 22.7 points at 128, 29.9 at 256 and 68.2 at 512: a slip in the table would change one of them."""
    for scale, loss in (("128", 22.73), ("256", 29.91), ("512", 68.24)):
        ends = [paper.published(scale, blur, "sharp")["top5_percent"].iloc[0] for blur in ("sharp", "D8")]
        assert ends[0] - ends[1] == pytest.approx(loss, abs=1e-9)


def test_published_order():
    """Within a scale the sharp network does worse under a larger radius."""
    for scale in ("128", "256", "256+512", "512"):
        rows = paper.published(scale, training="sharp")
        blurs = [row for row in rows.itertuples() if labels.family(row.blur) in ("sharp", "defocus")]
        doses = {labels.parse(row.blur).strength: row.top5 for row in blurs}
        values = [doses[d] for d in sorted(doses)]
        assert values == sorted(values, reverse=True)
        assert len(values) > 1


def test_published_selects_and_shares():
    assert paper.published("256", "D8", "mix")["top5_percent"].tolist() == [87.01]
    assert paper.published(blur="D3").empty
    shares = paper.published().set_index("row")["share_kept"]
    assert shares[5] == pytest.approx(53.34 / 76.07)
    assert shares[18] == pytest.approx(87.01 / 90.88)  # against the sharp network
    assert shares[21] != shares[21]


def test_selecting_does_not_touch_the_table():
    mine = paper.published()
    mine["top5"] = 0.0
    assert paper.published()["top5"].iloc[0] == 0.7607


def test_what_was_inferred_is_marked():
    marks = paper.published().set_index("row")["mark"]
    assert marks[19].startswith("inferred")
    assert marks[20].startswith("inferred")
    assert marks[5] == "stated"


def test_the_account_needs_neither_torch_nor_the_other_wings():
    code = (
        "import sys; import blurnb.intervals, blurnb.report.tables, blurnb.report.sentences, blurnb.report.page;"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'torchvision', 'matplotlib') or "
        "m.startswith(('blurnb.optics', 'blurnb.recognition', 'blurnb.study'))]; sys.exit(', '.join(bad) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
