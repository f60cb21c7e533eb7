"""Rounding: every way is recorded under its own name, and held against the floats image by image."""

import pytest

from blurnb.study import profiles, rounding

pytest.importorskip("foolbox", reason="NOT TESTED: foolbox is not installed")


def test_every_way_is_held_against_the_floats(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    given = {"profile": "smoke", "dataset": "foolbox20", "network": "efficientnet_lite0", "n_images": 6}
    given |= {"blurs": "sharp,D8", "scales": "64", "output_dir": str(tmp_path)}
    run = rounding.run(profiles.validate("rq1", given))
    assert (tmp_path / "rq1_rounding.csv").is_file()
    assert len(run.manifests) == len(rounding.WAYS)
    exact = run.answers["efficientnet_lite0", "float32"]
    for way in list(rounding.WAYS)[1:]:
        found = run.answers["efficientnet_lite0", way]
        assert (found["p_true"] != exact["p_true"]).any(), "rounding that changes nothing was not done"
        for blur in ("sharp", "D8"):
            rows = run.rows[(run.rows["view"] == f"dense, {way} vs float32") & (run.rows["blur"] == blur)]
            same = (found["predicted"] == exact["predicted"])[found["blur"] == blur].mean()
            change = (found["top1"].astype(int) - exact["top1"].astype(int))[found["blur"] == blur].mean()
            values = rows.set_index("metric")["value"]
            assert values["agreement"] == pytest.approx(same)
            assert values["top1_change"] == pytest.approx(change)
            assert 0 <= values["mcnemar_p"] <= 1
    assert not set(run.rows["view"]) & {"dense", "dense vs sharp image"}  # RQ1's own rows stay apart
