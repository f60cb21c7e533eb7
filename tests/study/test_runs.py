"""Runs: opened pairs, rows with their run, and a run_id that every version of what computes decides."""

import ast
import dataclasses
import importlib
import json
import sys
from pathlib import Path

import planted
import pytest
from PIL import Image

from blurnb import intervals, provenance, records
from blurnb.errors import UserError
from blurnb.recognition import datasets, families, models
from blurnb.report import verdicts
from blurnb.study import classification, journal, measures, runs, segmenting, similarity
from blurnb.study.chapters import rq1_degradation, rq2_fine_tuning, rq3_generalization, rq4_deblurring
from blurnb.study.protocol import Protocol
from blurnb.study.runs import Recorder

ROOT = Path(__file__).parents[2]


def parameters(folder, **given):
    small = {"profile": "smoke", "dataset": "scenes", "network": "vgg_mini", "weights": "none", "n_images": 4}
    given = small | {"scales": "native", "output_dir": str(folder)} | given
    return rq1_degradation.Parameters.validate(given)


# ------------------------------------------------------------------------------------------------ opened pairs


def test_small_images_keep_their_side_and_photographs_get_the_scales():
    photographs, small = planted.images(3), planted.images(3, 64)
    assert runs.scales_for(photographs, ["128", "256+512"]) == ("128", "256+512")
    assert runs.scales_for(small, ["128", "256", "512"]) == ("64",)
    assert runs.scales_for(small, ["64", "96", "64+96"]) == ("64", "96", "64+96")
    assert runs.scales_for(small, ["native"]) == ("64",)
    with pytest.raises(UserError, match="'native' means nothing"):
        runs.scales_for(photographs, ["native"])


def test_a_pair_brings_the_columns_that_its_rows_share(tmp_path):
    given = parameters(tmp_path, frame=128, flip=True, border="circular", precision="float32", seed=3)
    opened = runs.opened(given, "rq1", given.pairs[0], planted.images(3, 64, name="scenes"))
    assert opened.columns == {
        "experiment": "rq1", "profile": "smoke", "dataset": "scenes", "folder": "", "network": "vgg_mini",
        "weights": "none", "frozen": "none", "per_scale": False, "frame": 128, "border": "circular",
        "resample": "bicubic", "view": "dense", "flip": True, "precision": "float32", "seed": 3,
    }  # fmt: skip
    assert set(opened.columns) <= set(records.ANSWERS)
    assert opened.scales == ("64",)
    other = opened.under(dataclasses.replace(opened.protocol, precision="bf16"))
    assert (other.columns["precision"], other.columns["flip"]) == ("bf16", True)
    assert opened.columns["precision"] == "float32"


def test_what_is_the_users_own_is_called_by_its_name_alone(tmp_path):
    (tmp_path / "net.safetensors").touch()
    given = parameters(tmp_path, weights=str(tmp_path / "net.safetensors"))
    given = given.model_copy(update={"data_root": str(tmp_path / "my photos, x")})
    opened = runs.opened(given, "rq1", given.pairs[0], planted.images(3, 64, name="folder"))
    assert opened.columns["weights"] == "own"
    assert opened.columns["folder"] == "my photos, x"
    assert str(tmp_path) not in json.dumps(dict(opened.columns))


# ------------------------------------------------------------------------------------------------ the recorder


def row(opened, value=0.5, **changes):
    one = planted.conditions(["D8"], opened.scales)[0].columns()
    return measures.row((value, 0.1, 0.9), "top1", 4, **{**opened.columns, **one, **changes})


def test_rows_are_written_on_leaving_with_the_manifest_of_their_run(tmp_path):
    with Recorder(parameters(tmp_path), "rq1") as recorder:
        (opened,) = recorder.pairs
        run_id = recorder.ran({"task": "x", "versions": {"a": 1}}, {"weights": "none"}, computed_images=4)
        recorder.add([row(opened)], run_id)
        assert not (tmp_path / "rq1.csv").exists()
    found, notes = records.read(tmp_path / "rq1.csv", with_manifests=True)
    assert found.equals(recorder.run.rows)
    assert set(notes) == set(found["run_id"]) == {run_id}
    decided = notes[run_id]["decided"]
    assert decided["versions"] == {"a": 1} | provenance.versions(measures, intervals)
    assert run_id == provenance.address(decided)
    assert notes[run_id]["experiment"] == "rq1"
    assert notes[run_id]["computed_images"] == 4
    assert notes[run_id]["network_origin"] == {"weights": "none"}


def test_an_error_on_the_way_leaves_no_file(tmp_path):
    def stopped():
        with Recorder(parameters(tmp_path), "rq1") as recorder:
            recorder.add([row(recorder.pairs[0])], recorder.ran({}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not list(tmp_path.iterdir())


def test_a_repaired_image_makes_another_run_in_place_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(2):
            Image.effect_noise((56, 48), 40 + 10 * i + place).save(tmp_path / "photos" / name / f"{i}.bmp")
    spoilt = tmp_path / "photos" / "dog" / "1.bmp"
    whole = spoilt.read_bytes()
    spoilt.write_bytes(b"xx" + whole[2:])
    given = {"dataset": "folder", "data_root": str(tmp_path / "photos"), "weights": "none", "n_images": 0}
    given = parameters(tmp_path / "out", **given, frame=48, scales="48", blurs="sharp,D16")
    with pytest.warns(UserWarning, match=r"skipped: .*1.bmp is not a whole image"):
        first = rq1_degradation.run(given)
    spoilt.write_bytes(whole)
    with pytest.warns(UserWarning, match="is superseded by"):
        second = rq1_degradation.run(given)
    assert [set(run.rows["n"]) for run in (first, second)] == [{3}, {4}]
    assert set(records.read(tmp_path / "out" / "rq1.csv")["run_id"]) == set(second.manifests)


# ------------------------------------------------------------------------------------------------ learnt and tested


def learning(folder, chapter=rq2_fine_tuning, **given):
    small = {"profile": "smoke", "dataset": "folder", "network": "resnet18", "weights": "none", "scales": "64"}
    small |= {"data_root": str(folder), "n_images": 0, "train_images": 0, "output_dir": str(folder / "out")}
    return chapter.Parameters.validate(small | given)


@pytest.fixture
def splits(tmp_path, monkeypatch):
    """Folders train and val of different photographs, two in each of two classes."""
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    for place in range(8):
        file = tmp_path / ("train", "val")[place % 2] / ("cat", "dog")[place // 4] / f"{place}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (place, 0, 0)).save(file)
    return tmp_path


@pytest.mark.parametrize("chapter", [rq2_fine_tuning, rq3_generalization])
def test_what_is_learnt_from_is_not_tested_on(splits, chapter):
    Recorder(learning(splits, chapter), "rq2")
    unsplit = learning(splits / "val", chapter)
    with pytest.raises(UserError, match=r"val/cat/1.bmp is learnt from too, with it 4 of 4 .* folders train/ and val/"):
        Recorder(unsplit, "rq2")
    Recorder(rq1_degradation.Parameters.validate({"dataset": "folder", "data_root": str(splits / "val")}), "rq1")


def test_a_copy_under_another_name_is_found(splits):
    (splits / "val" / "dog" / "copy.bmp").write_bytes((splits / "train" / "dog" / "4.bmp").read_bytes())
    with pytest.raises(UserError, match=r"val/dog/copy.bmp is learnt from too, as .*train/dog/4.bmp, with it 1 of 5"):
        Recorder(learning(splits), "rq2")


def test_an_imagenet_tree_without_splits_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    for wnid in ("n01440764", "n01443537"):
        (tmp_path / wnid).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / wnid / "x.JPEG")
    with pytest.raises(UserError, match="is learnt from too"):
        Recorder(learning(tmp_path, dataset="imagenet"), "rq2")


def test_few_twins_in_a_published_set_are_said(splits):
    tested = datasets.load("folder", splits)
    for count, refused in ((400, False), (2, True)):
        of_set = dataclasses.replace(tested, name="imagenette", ids=tested.ids * count, files=tested.files)
        learnt = datasets.subset(tested, [0])
        opener = lambda _, pair, split="", of_set=of_set, learnt=learnt: learnt if split else of_set  # noqa: E731
        with pytest.raises(UserError) if refused else pytest.warns(UserWarning, match="learnt from too"):
            Recorder(learning(splits), "rq2", opener)


def test_the_validation_part_is_learnt_from_by_none_and_recorded_apart(splits):
    for place in range(60):
        Image.new("RGB", (8, 8), (place, 9, 9)).save(splits / "train" / ("cat", "dog")[place % 2] / f"more {place}.bmp")
    given = learning(splits), learning(splits, tested_on="validation")
    learnt = [runs.opened_images(one, one.pair, "train") for one in given]
    assert learnt[0].fingerprint == learnt[1].fingerprint  # so that both ask the same networks
    with Recorder(given[1], "rq2") as recorder:
        (opened,) = recorder.pairs
        recorder.add([row(opened)], recorder.ran({}))
    assert opened.images.ids
    assert all(image.startswith(("cat/more ", "dog/more ")) for image in opened.images.ids)
    whole = datasets.load("folder", splits, split="train")
    assert set(opened.images.digests) == set(whole.digests) - set(learnt[0].digests)
    written = records.read(splits / "out" / "rq2-validation.csv")
    assert not (splits / "out" / "rq2.csv").exists()
    assert set(zip(written["experiment"], written["dataset"])) == {("rq2-validation", "folder, validation")}
    assert [one.verdict for one in verdicts.judge(2, written, "smoke")] == [verdicts.NOT_RUN]


def test_a_copy_within_the_training_photographs_is_no_reason_to_refuse_the_validation_part(splits):
    for place in range(60):
        for name in ("cat", "dog"):
            Image.new("RGB", (8, 8), (place, 9, 9)).save(splits / "train" / name / f"more {place}.bmp")
    Recorder(learning(splits, tested_on="validation"), "rq2")


def test_scenes_have_a_split_for_validation_that_is_neither_learnt_nor_tested_on(tmp_path):
    given = {"profile": "smoke", "output_dir": str(tmp_path)}
    ids = []
    for tested_on in ("test", "validation"):
        checked = rq2_fine_tuning.Parameters.validate(given | {"tested_on": tested_on})
        ids += [runs.opened_images(checked, checked.pair, split).ids for split in ("", "train")]
    test, train, validation, again = map(set, ids)
    assert train == again
    assert len(test) == len(validation) == 64
    assert len(test | train | validation) == len(test) + len(train) + len(validation)


def test_where_weights_lie_on_this_machine_is_left_out(tmp_path):
    recorder = Recorder(parameters(tmp_path), "rq1")
    origin = {"weights": "/home/me/w.pt", "sha256": "a", "start": {"weights": "/home/me/s.pt", "seed": 3}}
    run_id = recorder.ran({}, {"sharp": origin, "mix": {"weights": "imagenet"}})
    assert recorder.manifests[run_id]["network_origin"] == {
        "sharp": {"sha256": "a", "start": {"seed": 3}},
        "mix": {"weights": "imagenet"},
    }


def test_a_run_tells_its_pairs_apart(tmp_path):
    given = {"dataset": "scenes,scenes", "frame": "128,256", "weights": "none"}
    with Recorder(parameters(tmp_path, **given), "rq1") as recorder:
        for place, opened in enumerate(recorder.pairs):
            recorder.add([row(opened, value=0.25 * place)], recorder.ran({"place": place}))
    assert [recorder.run.of(place)["value"].tolist() for place in (0, 1, -1)] == [[0.0], [0.25], [0.25]]


def test_under_the_reference_records_a_changed_tree_is_refused_before_anything_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "commit", lambda: "abc-dirty")
    with pytest.raises(UserError, match="the working tree has changes that no commit holds"):
        Recorder(parameters(tmp_path / "book" / "records"), "rq1", lambda *_: pytest.fail("opened"))
    Recorder(parameters(tmp_path / "elsewhere"), "rq1")
    monkeypatch.setattr(provenance, "commit", lambda: "abc")
    Recorder(parameters(tmp_path / "book" / "records"), "rq1")


# ------------------------------------------------------------------------------------------------ versions

ELSEWHERE = {
    "blurnb.intervals": "runs adds it to every run",
    "blurnb.recognition.scenes": "what it paints is in the fingerprint of the data",
    "blurnb.recognition.backends": "computes nothing for torch itself; test_classification has it with another backend",
}
"""Modules with a VERSION that a task imports and whose version it need not tell."""


def imported(module: str) -> set[str]:
    """The modules of blurnb that one names in an import, at its top or inside a function."""
    spec = importlib.util.find_spec(module)
    found = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("blurnb.") and name in sys.modules}


def computing(*modules: str) -> set[str]:
    """These modules and all that they import, as far as they have a VERSION."""
    found, waiting = set(), set(modules)
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting |= imported(one) - found
    return {name for name in found if hasattr(sys.modules[name], "VERSION")}


def network(name="vgg_mini"):
    return models.load(name, "none", 5)


def tasks() -> dict:
    """By the module of each task, the versions that it tells."""
    oracle = planted.Oracle()
    oracle.backbone = network()
    weights = {("wiener", 0.0): 1e-3}  # something is restored
    return {
        classification: classification.Classification({"sharp": network()}, Protocol(), weights=weights).facts,
        segmenting: segmenting.Segmenting(oracle, "sharp", Protocol(), "96").facts,
        similarity: {"versions": similarity.versions(network())},
    }


@pytest.mark.parametrize("module", [classification, segmenting, similarity], ids=lambda m: m.__name__[7:])
def test_a_task_tells_the_version_of_every_module_that_computes_for_it(module):
    told = tasks()[module]["versions"]
    needed = computing(module.__name__, families.homes()["vgg_mini"].__name__) - set(ELSEWHERE)
    if module is not classification:
        needed -= {f"blurnb.optics.{name}" for name in ("deblurring", "borders", "hyper_laplacian")}  # restores nothing
    missing = {name.removeprefix("blurnb.") for name in needed} - set(told)
    assert not missing, f"{module.__name__} computes with them and does not tell their version"
    for name, version in told.items():
        assert version == sys.modules[f"blurnb.{name}"].VERSION


@pytest.mark.parametrize("name", ["vgg16_64", "vgg_mini", "efficientnet_lite0", "resnet18"])
def test_a_network_tells_the_version_of_every_module_that_its_family_takes_parts_from(name):
    home = families.homes().get(name, families).__name__
    assert {f"blurnb.{one}" for one in families.version(name)} >= computing(home)


def test_a_module_that_is_left_out_is_found():
    assert {"blurnb.optics.engines", "blurnb.recognition.families"} <= computing("blurnb.study.similarity")
    assert "blurnb.optics.deblurring" in computing("blurnb.study.segmenting")


def addresses(task, tmp_path) -> tuple[str, str]:
    """(address of the journal, run_id) of a task's facts."""
    facts = tasks()[task]
    recorder = Recorder(parameters(tmp_path), "rq1", lambda *_: planted.images(3, 64))
    return journal.path_for(tmp_path, facts).stem, recorder.ran(facts)


@pytest.mark.parametrize("task", [classification, segmenting, similarity], ids=lambda m: m.__name__[7:])
def test_a_raised_version_makes_another_run_and_another_journal(task, tmp_path, monkeypatch):
    before = addresses(task, tmp_path)
    for name in tasks()[task]["versions"]:
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules[f"blurnb.{name}"], "VERSION", 99)
            after = addresses(task, tmp_path)
        assert before[0] != after[0], name
        assert before[1] != after[1], name
    for module in (measures, intervals):  # they make rows of answers, and leave answers alone
        with monkeypatch.context() as patch:
            patch.setattr(module, "VERSION", 99)
            after = addresses(task, tmp_path)
        assert before[1] != after[1], module.__name__
        if task is not similarity:
            assert before[0] == after[0], module.__name__


def test_seconds_of_a_chapter_tell_who_measured_them(smoke):
    for experiment in ("rq3", "rq4"):
        notes = [note["decided"] for note in smoke(experiment).run.manifests.values()]
        (seconds,) = [decided for decided in notes if decided.get("task") == "seconds"]
        assert "study.timing" in seconds["versions"]


def test_every_chapter_is_recorded_under_addresses_of_what_decided(smoke):
    for experiment in ("rq1", "card"):
        for run_id, note in smoke(experiment).run.manifests.items():
            assert run_id == provenance.address(note["decided"])
            assert {"study.measures", "intervals"} <= set(note["decided"]["versions"])


def test_pictures_record_nothing(tmp_path):
    given = rq4_deblurring.Parameters.validate({"profile": "smoke", "output_dir": str(tmp_path)})
    assert runs.to_look_at(given, 0, lambda *_: planted.images(3, 64)).columns["experiment"] == ""
    assert not list(tmp_path.iterdir())
