"""RQ1: its rows are its answers counted; doses as wide as a disk; roundings and resizings against the plain way."""

import planted
import pytest
import torch
from torch import nn

from blurnb import records
from blurnb.errors import UserError
from blurnb.recognition import datasets, models
from blurnb.study import answers, classification, runs
from blurnb.study.chapters import rq1_degradation as chapter
from blurnb.study.chapters.rq1_degradation import Parameters
from blurnb.study.treatments import ROUNDINGS


def test_every_pair_is_answered_under_every_blur_at_every_scale(smoke):
    study = smoke("rq1")
    for place, opened in enumerate(study.run.pairs):
        rows = study.run.of(place)
        assert set(rows["scale"]) == set(opened.scales)
        plain = rows[(rows["part_kind"] == "") & (rows["metric"] == "top1") & (rows["statistic"] == "estimate")]
        assert len(plain) == len(study.parameters.blurs) * len(opened.scales)
        assert set(plain["n"]) == {opened.pair.n_images}
    small, photographs = study.run.pairs
    assert (small.scales, photographs.scales) == (("96",), ("128", "256", "128+256"))
    assert study.run.of(0)["train_seed"].eq(0).all(), "a network that was trained here says with which seed"
    assert study.run.of(1)["train_seed"].isna().all()
    halves = study.run.rows[study.run.rows["metric"] == "half_radius"]
    assert {"128", "256"} <= set(halves["scale"])
    assert records.read(study.folder / "rq1.csv").equals(study.run.rows)


def test_a_rerun_computes_nothing_and_writes_the_same(smoke, tmp_path, monkeypatch):
    study = smoke("rq1")
    monkeypatch.setenv("BLURNB_CACHE", str(study.cache))
    again = chapter.run(study.parameters.model_copy(update={"output_dir": str(tmp_path)}))
    assert [note["computed_images"] for note in again.manifests.values()] == [0, 0]
    assert (tmp_path / "rq1.csv").read_bytes() == (study.folder / "rq1.csv").read_bytes()


def test_imagenet_weights_are_not_asked_about_other_classes(tmp_path):
    given = {"dataset": "scenes", "network": "efficientnet_lite0", "weights": "imagenet", "output_dir": str(tmp_path)}
    with pytest.raises(UserError, match="answer 1,000 classes, scenes has 12"):
        chapter.run(Parameters.validate(given))


@pytest.mark.parametrize("hit, said", [(True, "Check passed"), (False, "CHECK FAILED")])
def test_the_paper_profile_checks_itself_against_published_accuracy(hit, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path))
    monkeypatch.setattr(chapter, "PUBLISHED", {"top1": 1.0, "top5": 1.0, "n": 4, "tolerance": 0.002})
    classes, labels = tuple(str(i) for i in range(1000)), (7 if hit else 8,) * 4
    images = datasets.Dataset(
        "imagenet", classes, tuple("abcd"), labels, lambda i: planted.noise(300, 280, i), None, "f"
    )
    body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))
    with torch.no_grad():
        body[2].weight.zero_()
        body[2].bias.copy_(torch.arange(1000) == 7)
    network = models.Network("vgg16", body, 1000).eval()
    parameters = Parameters.validate({"profile": "paper", "data_root": str(tmp_path), "output_dir": str(tmp_path)})
    recorder = runs.Recorder(parameters, "rq1", lambda *_: images)
    chapter._check_against_torchvision(recorder.pairs[0], network, recorder)
    assert said in capsys.readouterr().out


def test_a_sheet_and_kernels_are_those_of_the_chapter(smoke):
    parameters = smoke("rq1").parameters
    sheet, rows, columns = chapter.examples(parameters, 1, count=2)
    assert (len(sheet), len(rows), tuple(columns)) == (2, 2, parameters.blurs)
    assert all(image.shape == (256, 256, 3) for line in sheet for image in line)
    assert set(chapter.kernels(parameters)) == set(parameters.blurs) - {"sharp"}


# ------------------------------------------------------------------------------------------------ doses


def test_blurs_are_matched_by_width_and_never_within_a_family():
    widths = {"sharp": 0.0, "D4": 2.03, "D8": 4.01, "D8.1": 4.05, "G2": 2.0, "G4": 4.0, "M10@30": 2.07, "shake": 4.4}
    matched = [(blur, disk) for blur in widths for disk in chapter._as_wide(blur, widths)]
    assert matched == [("G2", "D4"), ("G4", "D8"), ("G4", "D8.1"), ("M10@30", "D4")]


def test_every_dose_has_its_width_and_its_difference_from_the_disk_as_wide(smoke):
    study = smoke("doses")
    rows = study.run.rows
    widths = rows[rows["metric"] == "kernel_sd"].set_index("blur")
    assert set(widths.index) == set(study.parameters.dose_blurs)
    assert widths["value"]["D8"] == pytest.approx((8**2 / 4 + 1 / 12) ** 0.5, rel=0.01)
    assert set(widths["network"]) == set(widths["rounding"]) == set(widths["scale"]) == {""}
    top1 = rows[(rows["metric"] == "top1") & (rows["part_kind"] == "")]
    estimates = top1[top1["statistic"] == "estimate"].set_index(["blur", "scale"])["value"]
    disks = top1[(top1["statistic"] == "difference") & top1["versus_blur"].str.startswith("D")]
    assert len(disks)
    for row in disks.itertuples():
        assert abs(widths["value"][row.blur] / widths["value"][row.versus_blur] - 1) <= 0.05
        expected = estimates[row.blur, row.scale] - estimates[row.versus_blur, row.scale]
        assert row.value == pytest.approx(expected)
    assert set(rows["experiment"]) == {"doses"}
    halves = rows[rows["metric"] == "half_radius"]
    assert set(halves["part"]) <= {"top1", "top5"}
    assert set(halves["blur"]) == {"D16"}
    assert (study.folder / "doses.csv").is_file()


# ------------------------------------------------------------------------------------------------ rounding


def test_every_rounding_is_held_against_what_is_not_rounded_image_by_image(smoke, monkeypatch):
    study = smoke("rounding")
    assert [path.name for path in study.folder.glob("*.csv")] == ["rounding.csv"]
    rows = study.run.of(1)
    plain = rows[rows["statistic"] == "estimate"]
    assert set(zip(plain["rounding"], plain["precision"])) == {
        *((rounding, "float32") for rounding in ROUNDINGS), ("none", "bf16"),
    }  # fmt: skip
    opened, parameters = study.run.pairs[1], study.parameters
    found = {}
    for precision, roundings in (("float32", ROUNDINGS), ("bf16", ("none",))):
        task = classification.Classification({"sharp": chapter.networks.ready(opened, parameters)[0]},
                                             parameters.protocol(opened.pair, precision=precision))  # fmt: skip
        wanted = [
            one for word in roundings for one in planted.conditions(["sharp", "D8"], opened.scales[:1], rounding=word)
        ]
        tables = classification.tables(opened.images, planted.asked(opened.images, wanted, task, study.cache))
        found |= {(precision, one.treatment.rounding, one.treatment.blur): part for one, part in tables.items()}
    changed = 0
    for (precision, rounding, blur), part in found.items():
        exact = found["float32", "none", blur]
        if part is exact:
            continue
        changed += (part["p_true"] != exact["p_true"]).any()
        mine = rows[(rows["blur"] == blur) & (rows["rounding"] == rounding) & (rows["precision"] == precision)]
        mine = mine[(mine["scale"] == opened.scales[0]) & (mine["versus_rounding"] + mine["versus_precision"] != "")]
        other = {"rounding": "none"} if precision == "float32" else {"precision": "float32"}
        assert {name: set(mine[f"versus_{name}"]) for name in other} == {name: {v} for name, v in other.items()}
        values = mine.set_index(["metric", "statistic"])["value"]
        assert values["agreement", "estimate"] == (part["predicted"] == exact["predicted"]).mean()
        change = part["top1"].mean() - exact["top1"].mean()
        assert values["top1", "difference"] == pytest.approx(change)
        assert 0 <= values["top1", "p_value"] <= 1
    assert changed >= 5, "rounding that changes nothing was not done; of photographs a sharp one at 8 bits may stay"
    assert not (rows["versus_blur"] != "").any(), "differences from sharp images are RQ1's"


# ------------------------------------------------------------------------------------------------ shards


def test_a_shard_answers_into_the_store_and_the_run_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    given = {"profile": "smoke", "dataset": "scenes", "network": "vgg_mini", "weights": "none", "n_images": 70}
    parameters = Parameters.validate(given | {"blurs": "sharp,D8", "scales": "native", "output_dir": str(tmp_path)})
    ((facts, one),) = chapter.shard(parameters, 1, 2)
    ((_, other),) = chapter.shard(parameters, 2, 2)
    assert (len(one), len(other), facts["task"]) == (64, 6, "classification")
    assert chapter.shard(parameters, 1, 3) == []
    assert not list(tmp_path.glob("*.csv"))
    (note,) = chapter.run(parameters).manifests.values()
    assert note["computed_images"] == 0
    assert note["decided"]["n"] == 70
    assert answers.BLOCK == 64


# ---------------------------------------------------------------------------------------------------- resizing


def test_both_ways_of_resizing_are_held_against_each_other_image_by_image(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    given = {"dataset": "foolbox20", "network": "vgg_mini", "weights": "none", "n_images": 4, "blurs": ["D8"]}
    given |= {"profile": "smoke", "scales": ["64"], "precision": "float32", "output_dir": str(tmp_path)}
    parameters = chapter.Parameters.validate(given)
    run = chapter.run_resampling(parameters)
    assert [path.name for path in tmp_path.glob("*.csv")] == ["resampling.csv"]
    (opened,) = run.pairs
    network, answered = chapter.networks.ready(opened, parameters)[0], {}
    for way in ("bicubic", "bilinear"):
        task = classification.Classification({"sharp": network}, parameters.protocol(opened.pair, resample=way))
        (wanted,) = planted.conditions(["D8"], ["64"])
        found = planted.asked(opened.images, [wanted], task, tmp_path / "asked")
        answered[way] = classification.tables(opened.images, found)[wanted]
    assert (answered["bicubic"]["entropy"] != answered["bilinear"]["entropy"]).any()
    rows = run.rows.set_index(["resample", "versus_resample", "metric", "statistic"])["value"]
    means = {way: part["entropy"].mean() for way, part in answered.items()}
    assert rows["bicubic", "", "entropy", "estimate"] == pytest.approx(means["bicubic"])
    change = means["bilinear"] - means["bicubic"]
    assert rows["bilinear", "bicubic", "entropy", "difference"] == pytest.approx(change)
    same = (answered["bicubic"]["predicted"] == answered["bilinear"]["predicted"]).mean()
    assert rows["bilinear", "bicubic", "agreement", "estimate"] == same
