"""The card of a network: the command on photographs made here, and what the chapter opens."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blurnb import __main__ as command
from blurnb import records
from blurnb.report import selection
from blurnb.study import runs
from blurnb.study.chapters import card as chapter

ROOT = Path(__file__).parents[3]


# --- the command, on photographs made here ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two classes that a network can tell by colour, one of them called after an instruction, one file torn."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for name, colour in (("red <i>", (200, 40, 40)), ("green", (40, 200, 40))):
        (folder / name).mkdir()
        for i in range(6):
            pixels = np.clip(generator.normal(colour, 30, (64, 80, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    whole = (folder / "green" / "0.png").read_bytes()
    (folder / "green" / "torn.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("BLURNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colours.py").write_text(
        "import torch\n"
        "class Colours(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        mean = images.mean((2, 3))\n"
        "        return 9 * torch.stack([mean[:, 1], mean[:, 0]], 1)\n"
        "def build():\n    return Colours()\n"
    )
    brief = ["--blurs", "sharp,D2,D4,D8", "--scales", "64", "--n-images", "0"]

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["blurnb", "card", *brief, *arguments])
        code = 0
        try:
            command.main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capfd.readouterr()
        return code, [line for line in err.splitlines() if line.startswith("error")], out

    return run


@pytest.mark.filterwarnings("ignore:skipped")
def test_a_network_of_ones_own_gets_its_card(call, photographs, tmp_path):
    code, errors, out = call(
        "--network", "colours:build", "--mean", "none", "--std", "none", "--data", str(photographs)
    )
    assert (code, errors) == (0, [])
    assert "1 unreadable images skipped" in out
    rows, notes = records.read(tmp_path / "card" / "card.csv", with_manifests=True)
    sharp = selection.select(rows, metric="top1", blur="sharp", part_kind="", statistic="estimate")
    assert (sharp["value"].iloc[0], sharp["n"].iloc[0]) == (1.0, 12)  # the colour is the class: a planted truth
    (about,) = notes.values()
    assert len(about["skipped"]) == 1
    assert about["most_frequent_class"] == 0.5  # of the 12 that were answered; the torn one is of neither
    assert set(rows["training"]) == {"as given"}
    assert set(rows["weights"]) == {"own"}
    assert about["network_origin"] == {"source": "colours:build", "weights": "own"}
    assert set(rows["folder"]) == {photographs.name}
    assert "top1" in set(rows[rows["metric"] == "half_radius"]["part"])
    page = (tmp_path / "card" / "card.html").read_text()
    assert "red &lt;i&gt;" in page
    assert "<i>" not in page
    # and again: found, not computed
    code, _, _ = call("--network", "colours:build", "--mean", "none", "--std", "none", "--data", str(photographs))
    assert json.loads((tmp_path / "card" / "card.json").read_text())[rows["run_id"][0]]["computed_images"] == 0


@pytest.mark.filterwarnings("ignore:skipped")
def test_a_random_network_of_torchvision_gets_a_card_that_says_it_guesses(call, photographs, tmp_path):
    code, errors, _ = call("--network", "resnet18", "--weights", "none", "--data", str(photographs))
    assert (code, errors) == (0, [])
    assert "at chance level" in (tmp_path / "card" / "card.md").read_text()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--network", "resnet18", "--weights", "imagenet"], "resnet18 with ImageNet weights answers 1,000 classes"),
        (["--network", "resnet81"], "'resnet81' is unknown; did you mean"),
        (["--network", "nowhere:build"], "module 'nowhere' cannot be imported"),
        (["--network", "colours:bild"], "module 'colours' has no function 'bild'; did you mean build"),
        (["--network", "colours.py"], "colours.py is not a TorchScript file"),
        (["--network", "colours:build", "--data", "absent"], "data_root 'absent' is not a folder"),
        (["--network", "colours:build", "--data", "empty"], "has no class sub-folders"),
        (["--network", "colours:build", "--data", "three"], "answers 2 classes, the data has 3"),
        (["--network", "colours:build", "--strict"], "torn.png is not a whole image"),
        (["--network", "colours:build", "--mean", "grey"], "mean 'grey' is neither"),
        (["--network", "colours:build", "-p", "f_number=0"], "f_number=0"),
        (["--network", "colours:build", "--blurs", "sharp"], "give at least one blur beside sharp"),
        (["--network", "colours:build", "--blurs", "Q8"], "Q8"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, photographs, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    for name in "abc":
        (tmp_path / "three" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "three" / name / "x.png")
    code, errors, _ = call("--data", str(photographs), *arguments)
    assert code == 2
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "card").exists()


def test_an_imagenet_tree_is_recognised_and_a_set_is_drawn_at_most_whole(tmp_path):
    for wnid in ("n01440764", "n01443537"):
        (tmp_path / "val" / wnid).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "val" / wnid / "x.JPEG")
    given = {"data_root": str(tmp_path), "profile": "photographs"}
    parameters = chapter.Parameters.validate(given)
    opened = runs.to_look_at(parameters, 0, chapter.opened_images)
    assert (opened.images.name, len(opened.images.classes)) == ("imagenet", 1000)
    assert len(opened.images) == 2
    plain = chapter.Parameters.validate(given | {"dataset": "folder", "data_root": str(tmp_path / "val")})
    assert chapter.opened_images(plain, plain.pair).classes == ("n01440764", "n01443537")


def test_the_study_has_rows_of_what_was_asked_and_a_camera(smoke):
    study = smoke("card")
    rows, (note,) = study.run.rows, study.run.manifests.values()
    assert set(rows["blur"]) == {"", *study.parameters.blurs}
    assert set(rows.loc[rows["blur"] == "", "part_kind"]) == {"mean"}
    assert set(rows["experiment"]) == {"card"}
    assert {"normalisation", "classes", "most_frequent_class", "camera"} <= set(note)
    assert note["network_origin"] == {"source": "efficientnet_lite0", "weights": "imagenet"}
    with_sharp = chapter.Parameters.validate({"profile": "smoke", "blurs": "D2"})
    assert with_sharp.blurs == ("sharp", "D2")


def test_the_module_is_the_command():
    arguments = [sys.executable, "-m", "blurnb", "card", "--network", "resnet18"]
    answer = subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert answer.returncode == 2
    assert "--data" in answer.stderr
