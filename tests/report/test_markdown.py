"""Tables as Markdown: numbers on the right, and words of strangers that cannot act on a page."""

import pandas as pd

from blurnb.report.markdown import markdown


def test_markdown_is_gfm_with_numbers_on_the_right():
    frame = pd.DataFrame({"name": ["a|b", "c"], "n": ["1,000", "20"], "change": ["−2.0 [−3.0, −1.0]", "–"]})
    frame["run"] = ["12ab34cd56ef", "000000000000"]
    lines = markdown(frame).splitlines()
    assert lines[0] == "| name | n | change | run |"
    assert lines[1] == "| :--- | ---: | ---: | :--- |"
    assert lines[2] == "| a\\|b | 1,000 | −2.0 [−3.0, −1.0] | 12ab34cd56ef |"
    assert len(lines) == 4


def test_markup_comes_out_as_text():
    evil = "<script>{eval}`rm`\n![x](y)"
    (line,) = markdown(pd.DataFrame({"a": [evil]})).splitlines()[2:]
    assert line == "| &lt;script>&#123;eval}&#96;rm&#96; !&#91;x](y) |"
