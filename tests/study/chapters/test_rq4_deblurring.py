"""Deblurring against training: every number is paired, wrong kernels are for the sharp network, times are measured."""

import json
from dataclasses import replace
from functools import partial

import planted
import pytest
import torch

from blurnb import records
from blurnb.errors import UserError
from blurnb.optics import deblurring
from blurnb.recognition import datasets
from blurnb.recognition.datasets import Dataset
from blurnb.report import verdicts
from blurnb.study import classification, networks, profiles
from blurnb.study.chapters import rq2_fine_tuning
from blurnb.study.chapters import rq4_deblurring as chapter
from blurnb.study.chapters.rq4_deblurring import Capture, Parameters
from blurnb.study.treatments import TRUE

pytest.importorskip("deepinv")


@pytest.fixture
def study(smoke, monkeypatch):
    found = smoke("rq4")
    monkeypatch.setenv("BLURNB_CACHE", str(found.cache))
    return found


# ------------------------------------------------------------------------------------------------ ways


def test_every_way_of_a_chapter_once_and_in_order_of_captures():
    given = {"blurs": "sharp,D8", "captures": "exact,8-bit,noise 0.01", "dataset": "scenes", "network": "vgg_mini"}
    parameters = Parameters.validate(given)
    ways = list(chapter._ways(parameters.pair, parameters, ["wiener", "tv"]))
    assert len(ways) == len(set(ways)) == 3 + 3 * 3 + 2 * 4
    wrong = [way for way in ways if way.kernel not in ("none", TRUE)]
    assert len(wrong) == 2 * 4
    assert all(way.method == "wiener" and way.rounding == "none" for way in wrong)
    captured = [way.captured for way in ways]
    places = [one for i, one in enumerate(captured) if i == 0 or captured[i - 1] != one]
    assert len(places) == len(set(places)), "neighbours share a capture, so that it is made once"


def test_photographs_that_the_weights_were_tuned_on_are_not_judged(monkeypatch):
    labels = tuple(range(0, 1000, 2))
    draw = partial(planted.squares, 48)
    whole = Dataset("imagenet", ("x",) * 1000, tuple(map(str, labels)), labels, draw, None, "all")

    def load(name, root, *, split, n_images, seed):
        return datasets.sample(whole, n_images, seed)

    monkeypatch.setattr(datasets, "load", load)
    parameters = Parameters.validate({"profile": "photographs"})
    pair = parameters.pairs[1]
    kept = chapter.opened_images(parameters, pair.model_copy(update={"n_images": 0}))
    assert len(kept) == 450
    assert max(kept.labels) < chapter.FIRST_KEPT_OUT
    assert set(chapter.opened_images(parameters, pair).ids) <= set(kept.ids)
    assert len(chapter.opened_images(parameters, pair)) == pair.n_images


def test_epll_is_left_out_where_its_prior_is_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    given = {"methods": "wiener,epll", "dataset": "scenes", "network": "vgg_mini"}
    pair = Parameters.validate(given).pair
    assert chapter._methods(pair) == ["wiener"]
    assert "epll is left out" in capsys.readouterr().out
    deblurring.epll_prior().parent.mkdir(parents=True)
    deblurring.epll_prior().touch()
    assert chapter._methods(pair) == ["wiener", "epll"]


# ------------------------------------------------------------------------------------------------ the chapter


def test_a_rerun_writes_the_same_records_and_computes_nothing(study, tmp_path):
    again = chapter.run(study.parameters.model_copy(update={"output_dir": str(tmp_path)}))
    assert again.rows.equals(study.run.rows)
    assert {note.get("computed_images", 0) for note in again.manifests.values()} == {0}
    assert (tmp_path / "rq4.csv").read_bytes() == (study.folder / "rq4.csv").read_bytes()
    assert records.read(study.folder / "rq4.csv").equals(study.run.rows)


def test_rows_are_the_answers_counted(study):
    (opened,), parameters = study.run.pairs, study.parameters
    known = {name: network for name, (network, _) in chapter._asked(opened, parameters).items()}
    methods = chapter._methods(opened.pair)
    weights = chapter._weights(opened, parameters, methods)
    task = classification.Classification(known, opened.protocol, parameters.batch, weights, with_psnr=True)
    wanted = [
        planted.Condition(way, opened.scales[0], name)
        for way in chapter._ways(opened.pair, parameters, methods)
        for name in known
        if name == "sharp" or way.kernel in ("none", TRUE)
    ]
    found = planted.asked(opened.images, wanted, task, study.cache)
    assert found.circumstances["computed_images"] == 0, "they are the answers of the run"
    parts = classification.tables(opened.images, found)

    def keyed(rows, *more):
        names = ["training", *planted.Treatment._fields, *more]
        return dict(zip(rows[names].itertuples(index=False, name=None), rows["value"]))

    rows = study.run.rows[(study.run.rows["metric"] == "top1") & (study.run.rows["part_kind"] == "")]
    shown = keyed(rows[rows["statistic"] == "estimate"])
    change = keyed(rows[rows["statistic"] == "difference"], "versus_training", "versus_method", "versus_blur")
    assert len(shown) == len(parts)
    for one, part in parts.items():
        here = (one.training, *one.treatment)
        assert shown[here] == pytest.approx(part["top1"].mean())
        plain = one._replace(treatment=one.treatment.captured)
        if one.training == "sharp" and one.treatment.method != "none":
            for other, side in ((plain._replace(training="mix"), ("mix", "none", "")), (plain, ("", "none", ""))):
                expected = (part["top1"].astype(float) - parts[other]["top1"].astype(float)).mean()
                assert change[(*here, *side)] == pytest.approx(expected)
        if one == plain and one != one.sharp:
            assert change[(*here, "", "", "sharp")] == pytest.approx(
                part["top1"].mean() - parts[one.sharp]["top1"].mean()
            )
    ways = ["training", "method", "kernel", "rounding", "noise_sd", "versus_training", "versus_method"]
    told = study.run.rows[study.run.rows["statistic"] == "difference"].groupby("part_kind")[ways]
    told = {kind: set(each.itertuples(index=False, name=None)) for kind, each in told}
    assert told["mean"] <= told[""], "a mean stands beside what it is a mean of"
    means = study.run.rows[(study.run.rows["part_kind"] == "mean") & (study.run.rows["statistic"] == "estimate")]
    for row in means[means["metric"] == "top1"].itertuples():
        ways = {one: part for one, part in parts.items() if one.treatment.blur in row.part.split("+")}
        same = (row.training, row.noise_sd, row.rounding, row.method, row.kernel)
        own = [part["top1"].mean() for one, part in ways.items() if (one.training, *one.treatment[1:]) == same]
        assert row.value == pytest.approx(sum(own) / len(own))
    psnr = study.run.rows[study.run.rows["metric"] == "psnr"]
    for name in chapter.OF_NETWORKS:
        assert psnr[name].isna().all() or set(psnr[name]) == {""}, f"no network has a part in it, nor its {name}"
    assert len(psnr) == len({one.treatment for one in wanted if one.treatment != planted.Treatment("sharp")})


def test_the_mix_network_is_spared_wrong_kernels(study):
    rows = study.run.rows
    wrong = rows[~rows["kernel"].isin(["none", TRUE, ""])]
    assert set(wrong["training"]) == {"sharp", ""}
    assert set(wrong[wrong["blur"] == "D8"]["kernel"]) == {"D6", "D7", "D9", "D10"}


def test_every_way_with_the_true_kernel_has_its_seconds_and_the_networks_have_theirs(study):
    times = study.run.rows[study.run.rows["metric"] == "seconds"]
    assert (times["value"] > 0).all()
    assert set(zip(times["training"], times["method"], times["noise_sd"])) == {
        ("sharp", "none", 0.0), ("mix", "none", 0.0),
        *(("sharp", method, noise) for method in ("wiener", "krishnan_fergus") for noise in (0.0, 0.01)),
    }  # fmt: skip
    note = study.run.manifests[times["run_id"].iloc[0]]
    assert note["decided"]["threads"] == torch.get_num_threads()
    assert note["decided"]["repeats"] == 2
    for median, least, most in note["median_least_most"].values():
        assert least <= median <= most


def test_the_manifest_says_what_decided_the_numbers_and_nothing_about_this_machine_s_folders(study):
    text = json.dumps(study.run.manifests)
    assert str(study.folder) not in text
    assert str(study.cache) not in text
    (note,) = [m["decided"] for m in study.run.manifests.values() if m["decided"]["task"] == "classification"]
    both = [[m, n] for m in ("krishnan_fergus", "wiener") for n in (0.0, 0.01)]
    assert [one[:2] for one in note["methods"]] == both
    assert set(note["weights"]) == {"sharp", "mix"}


def test_the_rule_of_the_claim_finds_all_that_it_asks_for(study):
    (verdict,) = verdicts.judge(7, study.run.rows, "smoke")
    assert verdict.verdict != verdicts.NOT_RUN
    assert "mean over D8, M21@30" in verdict.note
    assert "unknown multiple" not in verdict.note


def test_small_images_get_weights_tuned_on_training_images_and_others_the_usual_ones(study):
    (opened,), parameters = study.run.pairs, study.parameters
    (note,) = [m["decided"] for m in study.run.manifests.values() if m["decided"]["task"] == "classification"]
    used = {(method, noise): weight for method, noise, weight in note["methods"]}
    found = chapter._weights(opened, parameters, ["wiener"])
    assert set(found.values()) <= set(deblurring.GRIDS["wiener"])
    assert {key: used[key] for key in found} == found
    plain = chapter._weights(opened, parameters.model_copy(update={"tuning_images": 0}), ["wiener"])
    assert set(plain) == {("wiener", 0.0), ("wiener", 0.01)}
    assert plain["wiener", 0.01] == pytest.approx(deblurring.WEIGHTS["wiener"][0.01])
    photographs = chapter._weights(replace(opened, images=planted.images(3)), parameters, ["wiener"])
    assert photographs == plain


def test_the_networks_are_those_that_rq2_answers_with(study, smoke):
    trained = {}
    for one in (study, smoke("rq2")):
        pair, parameters = one.parameters.pair, one.parameters
        trained[parameters.experiment] = [networks.tuned(pair, parameters, m, 0)[1]["sha256"] for m in ("sharp", "mix")]
    assert trained["rq4"] == trained["rq2"]


def test_the_sheet_shows_every_restoration_with_its_answer(study):
    sheet, rows, titles, captions = chapter.examples(study.parameters)
    assert titles == ["blurred", "wiener", "krishnan fergus", "sharp"]
    assert len(sheet) == len(rows) == len(captions) == 2
    assert all(len(line) == 4 for line in [*sheet, *captions])
    assert all(image.ndim == 3 and image.shape[2] == 3 for line in sheet for image in line)
    assert all("(" in caption for line in captions for caption in line)


# ------------------------------------------------------------------------------------------------ parameters


def test_pairs_have_each_their_own_frame_scale_networks_and_methods():
    parameters = Parameters.validate({"profile": "photographs"})
    small, large = parameters.pairs
    assert (small.dataset, small.frame, small.scales, small.trained, small.n_images) == (
        "tiny-imagenet", 128, ("native",), "rq2", 256,
    )  # fmt: skip
    assert (large.dataset, large.frame, large.scales, large.trained, large.n_images) == (
        "imagenet", 512, ("256",), "as-is", 60,
    )  # fmt: skip
    assert parameters.protocol(small).frame == 128
    assert "richardson_lucy" in small.methods
    assert large.methods == parameters.photograph_methods
    assert (bool(small.wrong_kernels), large.wrong_kernels) == (True, ())


@pytest.mark.parametrize("profile", profiles.NAMES)
def test_everything_that_decides_a_network_s_weights_is_as_in_rq2(profile):
    ours, theirs = (kind.Parameters.validate({"profile": profile}) for kind in (chapter, rq2_fine_tuning))
    for name in ("dataset", "network", "weights", "frame"):
        assert getattr(ours.pairs[0], name) == getattr(theirs.pair, name), name
    assert ours.recipe(ours.pairs[0], mix="mix") == theirs.recipe(mix="mix")
    for name in ("train_images", "base_epochs", "base_learning_rate", "base_frozen", "epochs", "learning_rate"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.train_seeds[0] == theirs.train_seeds[0]


def test_captures_are_read_as_what_they_do():
    found = Parameters.validate({"captures": "exact,8-bit,noise 0.02"}).captures
    assert found == (Capture(), Capture("8-bit blur"), Capture(noise_sd=0.02))


@pytest.mark.parametrize(
    "given, words",
    [
        ({"captures": "noise"}, "'noise' is none of exact, 8-bit, noise 0.01"),
        ({"captures": "noise 0.9"}, "none of exact"),
        ({"methods": "weiner"}, "did you mean wiener"),
        ({"wrong_kernels": "krishnan"}, "krishnan"),
        ({"trained": "rq1"}, "rq1"),
        ({"frame": 3}, "frame"),
        ({"profile": "photographs", "frame": "128,512,512"}, "frame has 3 entries for 2 pairs"),
        ({"rounding": "8-bit"}, "one of this chapter's captures"),
        ({"repeats": 0}, "repeats"),
        ({"tuning_images": -1}, "tuning_images"),
    ],
)
def test_misuse_is_one_line(given, words):
    with pytest.raises(UserError, match=words) as caught:
        Parameters.validate(given)
    assert "\n" not in str(caught.value)
