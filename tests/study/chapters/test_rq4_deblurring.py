"""Deblurring against training: what is shown to the networks is what the method says, and every number is paired."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from blurnb.study.evaluation import Protocol
from blurnb.study.restoration import ANOTHER_SHAKE, Way, answer, degraded, kernel_for, ways_for, wrong_kernels
from torch import nn

from blurnb import records
from blurnb.errors import UserError
from blurnb.optics import blurring, deblurring
from blurnb.recognition import datasets
from blurnb.recognition.datasets import Dataset, UnreadableImage
from blurnb.recognition.models import Network
from blurnb.report import claims
from blurnb.study import profiles, restoration

pytest.importorskip("deepinv")
SIDE = 48
PLAIN = Protocol(frame=SIDE, flip=False)
PRIORS = {("wiener", 0.0): 1e-3, ("wiener", 0.01): 1e-2}
WAYS = [
    Way("sharp"),
    Way("D3"),
    Way("D3", "exact", "wiener"),
    Way("D3", "exact", "wiener", "D5"),
    Way("D3", "noise 0.01"),
    Way("D3", "noise 0.01", "wiener"),
]


class Detail(nn.Module):
    """Two classes by how strongly neighbours differ: planted, so that blur hides what deblurring brings back."""

    def __init__(self, bar: float):
        super().__init__()
        self.register_buffer("bar", torch.tensor(bar))

    def forward(self, images):
        detail = images.diff(dim=-1).abs().mean((1, 2, 3)) + images.diff(dim=-2).abs().mean((1, 2, 3))
        return 1000 * torch.stack([self.bar - detail, detail - self.bar], 1)


def seeing(bar: float) -> Network:
    return Network("detail", Detail(bar), 2, mean=(0.0,) * 3, std=(1.0,) * 3).eval()


def bars(damaged: tuple[int, ...], index: int) -> torch.Tensor:
    if index in damaged:
        raise UnreadableImage(f"image {index} is damaged")
    drawn = np.random.default_rng(index).random((3, SIDE // 6, SIDE // 6)).astype(np.float32)
    return torch.from_numpy(np.kron(drawn, np.ones((1, 6, 6), np.float32)))


def squares(count: int = 6, damaged: tuple[int, ...] = ()) -> Dataset:
    ids = tuple(f"image {i}" for i in range(count))
    return Dataset("squares", ("plain", "busy"), ids, (1,) * count, partial(bars, damaged), SIDE, f"squares {count}")


def asked() -> dict[str, Network]:
    return {"sharp": seeing(0.09), "mix": seeing(0.001)}


def answered(store, dataset=None, ways=WAYS, **options):
    return answer(asked(), dataset or squares(), ways, PRIORS, str(SIDE), PLAIN, store=store, **options)


# ------------------------------------------------------------------------------------------------ ways


def test_wrong_kernels_are_off_by_what_the_method_says():
    assert wrong_kernels("D8") == ["D6", "D7", "D9", "D10"]
    assert wrong_kernels("D2") == ["D1", "D3", "D4"]
    assert wrong_kernels("M21@30") == ["M21@45"]
    assert wrong_kernels("M21@170") == ["M21@5"]
    assert wrong_kernels("shake") == wrong_kernels("shake24") == [ANOTHER_SHAKE]
    assert wrong_kernels("G4") == wrong_kernels("sharp") == []


def test_the_wrong_kernel_is_another_and_the_right_one_that_of_the_blur():
    way = Way("shake24", "exact", "wiener")
    right = kernel_for(way, 0.5, 3, "a")
    assert np.array_equal(right, blurring.kernel_for("shake24", 0.5, 3, "a"))
    wrong = kernel_for(way._replace(kernel=ANOTHER_SHAKE), 0.5, 3, "a")
    assert wrong.shape != right.shape or np.abs(wrong - right).max() > 0.01
    assert np.array_equal(kernel_for(Way("D8", "exact", "wiener", "D9"), 0.5, 0, "a"), blurring.kernel_for("D9", 0.5))


def test_views_are_those_that_the_rule_of_the_claim_reads():
    assert Way("D8").view("dense") == "dense"
    assert Way("D8", "8-bit").view("dense+flip") == "dense+flip, 8-bit"
    named = Way("D8", "noise 0.01", "wiener", "D9").view("dense")
    assert named == "dense after wiener, noise 0.01, kernel D9"


def test_every_way_of_a_chapter_once_and_in_order_of_degradation():
    parameters = profiles.validate("rq4", {"blurs": "sharp,D8", "factors": "exact,8-bit,noise 0.01"})
    ways = list(ways_for(parameters, ["wiener", "tv"]))
    assert len(ways) == len(set(ways)) == 3 + 3 * 3 + 2 * 4
    assert not [w for w in ways if w.kernel and (w.factor == "8-bit" or w.method == "tv")]
    steps = [(w.blur, w.factor) for w in ways]
    assert sorted(set(steps), key=steps.index) == [s for i, s in enumerate(steps) if i == 0 or steps[i - 1] != s]


def test_degraded_images_have_the_noise_and_the_rounding_asked_for_and_one_image_the_same_alone():
    images = torch.full((2, 3, SIDE, SIDE), 0.5) + torch.tensor([0.0, 0.001]).view(2, 1, 1, 1)
    noisy = degraded(images, Way("D3", "noise 0.01"), ["a", "b"], PLAIN)
    assert (noisy - images).std().item() == pytest.approx(0.01, rel=0.03)
    assert not torch.allclose(noisy[0] - images[0], noisy[1] - images[1], atol=1e-3)
    assert torch.equal(noisy[1:], degraded(images[1:], Way("D3", "noise 0.01"), ["b"], PLAIN))
    eighths = degraded(images, Way("D3", "8-bit"), ["a", "b"], PLAIN) * 255
    assert torch.allclose(eighths, eighths.round(), atol=1e-4)
    dark = degraded(0 * images, Way("D3", "noise 0.01"), ["a", "b"], PLAIN)
    assert dark.min() == 0


# ------------------------------------------------------------------------------------------------ answers


def test_planted_networks_see_what_blur_hides_and_deblurring_brings_back(tmp_path):
    found, about = answered(tmp_path)
    assert about["computed_images"] == 6
    top1 = found.groupby(["training", *Way._fields], sort=False)["top1"].mean()
    assert top1["sharp", "sharp", "exact", "", ""] == 1
    assert top1["sharp", "D3", "exact", "", ""] == 0
    assert top1["sharp", "D3", "exact", "wiener", ""] == 1
    assert top1["mix", "D3", "exact", "", ""] == 1
    assert ("mix", "D3", "exact", "wiener", "D5") not in top1.index
    quality = found[found["training"] == "sharp"].groupby(list(Way._fields), sort=False)["psnr"].mean()
    assert np.isnan(quality["sharp", "exact", "", ""])
    assert quality["D3", "exact", "wiener", ""] > quality["D3", "exact", "", ""] + 3
    assert quality["D3", "exact", "wiener", "D5"] < quality["D3", "exact", "wiener", ""] - 3
    assert quality["D3", "noise 0.01", "wiener", ""] < quality["D3", "exact", "wiener", ""]


def test_an_answer_is_the_one_reached_by_hand(tmp_path):
    found, _ = answered(tmp_path)
    image, way = bars((), 4)[None], Way("D3", "noise 0.01", "wiener")
    kernel = blurring.kernel_for("D3", 1.0)
    draw = blurring.generator_for(0, "image 4", "D3, noise 0.01").normal(0, 0.01, image.shape[1:])
    seen = (blurring.blur(image, kernel) + torch.from_numpy(draw).float()).clamp(0, 1)
    clear = deblurring.deblur(seen, kernel, "wiener", 0.01, 1e-2)
    one = found[(found["image"] == "image 4") & (found["training"] == "sharp")]
    for name, value in way._asdict().items():
        one = one[one[name] == value]
    (one,) = one.to_dict("records")
    assert one["psnr"] == pytest.approx(deblurring.psnr(clear, image).item(), abs=0.01)
    shares = asked()["sharp"](clear).double().softmax(1)[0]
    assert one["p_true"] == pytest.approx(shares[1].item(), rel=1e-3, abs=1e-6)


def test_what_was_computed_is_found_again_torn_lines_are_computed_anew_and_more_ways_add_to_it(tmp_path):
    whole, about = answered(tmp_path, ways=WAYS[:3])
    again, none = answered(tmp_path, ways=WAYS[:3])
    assert none["computed_images"] == 0
    assert again.equals(whole)
    (journal,) = (tmp_path / "answers").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    mended, some = answered(tmp_path, ways=WAYS[:3])
    assert some["computed_images"] > 0
    assert mended.equals(whole)
    more, _ = answered(tmp_path)
    fresh, _ = answered(tmp_path / "fresh")
    assert more.equals(fresh)


def test_a_damaged_image_is_named_and_left_out_or_ends_the_run(tmp_path):
    with pytest.warns(UserWarning, match="image 2 is damaged"):
        found, about = answered(tmp_path, squares(6, damaged=(2,)))
    assert about["skipped"] == {"image 2": "image 2 is damaged"}
    assert set(found["image"]) == {f"image {i}" for i in (0, 1, 3, 4, 5)}
    with pytest.raises(UnreadableImage, match="image 2"):
        answered(tmp_path / "strict", squares(6, damaged=(2,)), strict=True)


def test_a_class_beyond_the_network_is_one_line(tmp_path):
    dataset = Dataset("squares", ("a", "b", "c"), ("x",), (2,), partial(bars, ()), SIDE, "more")
    with pytest.raises(UserError, match="class index 2 but its network answers 2"):
        answered(tmp_path, dataset)


def test_photographs_that_the_weights_were_tuned_on_are_not_judged(monkeypatch):
    labels = tuple(range(0, 1000, 2))
    whole = Dataset("imagenet", ("x",) * 1000, tuple(map(str, labels)), labels, partial(bars, ()), None, "all")
    monkeypatch.setattr(datasets, "load", lambda *_, **__: whole)
    pair = profiles.validate("rq4", {"profile": "photographs"}).pairs()[1]
    kept = restoration.opened_dataset(pair.model_copy(update={"n_images": 0}))
    assert len(kept) == 450
    assert max(kept.labels) < restoration.FIRST_KEPT_OUT
    assert set(restoration.opened_dataset(pair).ids) <= set(kept.ids)
    assert len(restoration.opened_dataset(pair)) == pair.n_images


# ------------------------------------------------------------------------------------------------ the chapter


QUICK = {"profile": "smoke", "train_images": 32, "base_epochs": 0, "precision": "float32"}


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    """The smoke profile with networks that hardly learned anything, twice with one store."""
    folder = tmp_path_factory.mktemp("rq4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLURNB_CACHE", str(folder / "cache"))
        runs = []
        for name in ("first", "second"):
            parameters = profiles.validate("rq4", {**QUICK, "output_dir": str(folder / name)})
            runs.append(restoration.run(parameters))
        sheet = restoration.examples(parameters)
    return folder, runs, sheet


def test_a_rerun_writes_the_same_records(chapter):
    folder, (first, second), _ = chapter
    assert first.rows.equals(second.rows)
    texts = [(folder / name / "rq4.csv").read_text() for name in ("first", "second")]
    assert texts[0] == texts[1]
    assert records.read(folder / "first" / "rq4.csv").equals(first.rows)


def test_rows_are_the_answers_counted(chapter):
    _, (run, _), _ = chapter
    ((_, found),) = run.answers.items()
    parts = {key: part.set_index("image") for key, part in found.groupby(["training", *Way._fields])}
    shown = run.rows[run.rows["metric"] == "top1"].set_index(["training", "blur", "view"])["value"]
    change = run.rows[run.rows["metric"] == "top1_change"].set_index(["training", "blur", "view"])["value"]
    assert len(shown) == len(parts)
    for (training, *named), part in parts.items():
        way = Way(*named)
        assert shown[training, way.blur, way.view("dense")] == pytest.approx(part["top1"].mean())
        if training == "sharp" and way.method:
            mix = parts["mix", way.blur, way.factor, "", ""]["top1"]
            plain = parts["sharp", way.blur, way.factor, "", ""]["top1"]
            for other, versus in ((mix, "mix network"), (plain, "no deblurring")):
                wanted = (part["top1"].astype(float) - other.astype(float)).mean()
                assert change[training, way.blur, f"{way.view('dense')} vs {versus}"] == pytest.approx(wanted)
    assert set(run.rows.loc[run.rows["metric"] == "psnr", "training"]) == {""}


def test_every_way_with_the_true_kernel_has_its_seconds_and_the_networks_have_theirs(chapter):
    _, (run, _), _ = chapter
    times = run.rows[run.rows["metric"] == "seconds"]
    assert (times["value"] > 0).all()
    assert set(times["training"] + ", " + times["view"]) == {
        "sharp, dense",
        "mix, dense",
        *(f"sharp, dense after {m}{f}" for m in ("wiener", "krishnan_fergus") for f in ("", ", noise 0.01")),
    }
    note = run.manifests[times["run_id"].iloc[0]]
    assert note["parameters"]["threads"] == torch.get_num_threads()
    assert note["parameters"]["repeats"] == 2
    for median, least, most in note["median_least_most"].values():
        assert least <= median <= most


def test_the_manifest_says_what_decided_the_numbers_and_nothing_about_this_machine_s_folders(chapter):
    folder, (run, _), _ = chapter
    text = json.dumps(run.manifests)
    assert str(folder) not in text
    (note,) = [m["parameters"] for m in run.manifests.values() if "priors" in m["parameters"]]
    assert [one[:2] for one in note["priors"]] == [[m, n] for m in ("wiener", "krishnan_fergus") for n in (0.0, 0.01)]
    assert set(note["weights"]) == {"sharp", "mix"}


def test_the_rule_of_the_claim_finds_all_that_it_asks_for(chapter):
    _, (run, _), _ = chapter
    (verdict,) = claims.judge(7, run.rows, "smoke")
    assert verdict.verdict != claims.NOT_RUN
    assert "mean over D8, M21@30" in verdict.note
    assert "unknown multiple" not in verdict.note


def test_tuned_weights_come_from_training_images_and_lie_on_the_grid(chapter, monkeypatch):
    folder, _, _ = chapter
    monkeypatch.setenv("BLURNB_CACHE", str(folder / "cache"))
    parameters = profiles.validate("rq4", QUICK)
    weights = restoration.tuned_weights(parameters, ["wiener"])
    assert set(weights) == {("wiener", 0.0), ("wiener", 0.01)}
    assert set(weights.values()) <= set(deblurring.GRIDS["wiener"])
    assert weights["wiener", 0.01] > weights["wiener", 0.0]
    defaults = restoration.tuned_weights(parameters.model_copy(update={"tuning_images": 0}), ["wiener"])
    assert defaults["wiener", 0.01] == pytest.approx(deblurring.WEIGHTS["wiener"][0.01])


def test_the_sheet_shows_every_restoration_with_its_answer(chapter):
    _, _, (sheet, rows, titles, captions) = chapter
    assert titles == ["blurred", "wiener", "krishnan fergus", "sharp"]
    assert len(sheet) == len(rows) == len(captions) == 2
    assert all(len(line) == 4 for line in [*sheet, *captions])
    assert all(image.ndim == 3 and image.shape[2] == 3 for line in sheet for image in line)
    assert all("(" in caption for line in captions for caption in line)


def test_epll_is_left_out_where_its_prior_is_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    parameters = profiles.validate("rq4", {"methods": "wiener,epll"})
    assert restoration.methods_for(parameters, squares()) == ["wiener"]
    assert "epll is left out" in capsys.readouterr().out
    deblurring.epll_prior().parent.mkdir(parents=True)
    deblurring.epll_prior().touch()
    assert restoration.methods_for(parameters, squares()) == ["wiener", "epll"]


# ------------------------------------------------------------------------------------------------ parameters


def test_pairs_have_each_their_own_frame_scale_and_networks():
    small, large = profiles.validate("rq4", {"profile": "photographs"}).pairs()
    assert (small.dataset, small.frame, small.scales, small.trained, small.n_images) == (
        ["tiny-imagenet"], 128, ["native"], ["rq2"], 256,
    )  # fmt: skip
    assert (large.dataset, large.frame, large.scales, large.trained, large.n_images) == (
        ["imagenet"], 512, ["256"], ["as-is"], 60,
    )  # fmt: skip
    assert small.protocol().frame == 128


@pytest.mark.parametrize("profile", ["smoke", "embedded", "photographs", "paper"])
def test_the_networks_are_those_of_rq2(profile):
    """Everything that decides a network's weights is the same in both chapters."""
    ours, theirs = (
        profiles.validate("rq4", {"profile": profile}).pairs()[0],
        profiles.validate("rq2", {"profile": profile}),
    )
    names = ("dataset", "network", "weights", "frame", "train_images", "base_epochs", "base_learning_rate", "epochs")
    names += ("learning_rate", "train_batch", "weight_decay", "max_shift", "warmup", "optimizer", "augmentation")
    names += ("border",)
    for name in names:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.train_seeds[0] == theirs.train_seeds[0]


@pytest.mark.parametrize(
    "given, words",
    [
        ({"factors": "noise"}, "'noise' is none of exact, 8-bit, noise 0.01"),
        ({"factors": "noise 0.9"}, "none of exact"),
        ({"methods": "weiner"}, "did you mean wiener"),
        ({"wrong_kernels": "krishnan"}, "krishnan"),
        ({"trained": "rq1"}, "rq1"),
        ({"frame": 3}, "frame"),
        ({"profile": "photographs", "frame": "128,512,512"}, "frame has 3 entries for 2 pairs"),
        ({"rounding": "8-bit"}, "one of this chapter's factors"),
        ({"repeats": 0}, "repeats"),
        ({"tuning_images": -1}, "tuning_images"),
    ],
)
def test_misuse_is_one_line(given, words):
    with pytest.raises(UserError, match=words) as caught:
        profiles.validate("rq4", given)
    assert "\n" not in str(caught.value)
