"""The card: planted records give planted words, and nothing that a file is called is obeyed."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blurnb import __main__ as command
from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.report import advice, card, classes, doses, selection
from blurnb.study import profiles, robustness

ROOT = Path(__file__).parents[1]
EVIL = 'a<b>"&$x_1|[l](javascript:x) vs\nz'
BLURS = {"sharp": 0.9, "D2": 0.86, "D4": 0.8, "D8": 0.4, "G4": 0.6, "M10@30": 0.8, "M20@30": 0.7, "shake": 0.75}


def planted(
    levels=BLURS, scales=("128", "256"), n=500, network="net", dataset="folder photos", sure=0.9, question="card",
    training="as given",
):  # fmt: skip
    """Records of a network whose accuracy under each blur is given, the same at every scale."""
    rows = []
    for scale in scales:
        for blur, share in levels.items():
            shared = {"question": question, "dataset": dataset, "network": network, "training": training}
            shared |= {"scale": scale, "blur": blur, "view": "dense", "n": n, "profile": "photographs", "run_id": "r"}
            for metric, value in (("top1", share), ("top5", min(1, share + 0.05)), ("confidence", sure)):
                low, high = intervals.wilson(round(value * n), n)
                rows.append(records.row(metric=metric, value=value, ci_low=low, ci_high=high, **shared))
            rows += [
                records.row(metric=m, value=v, **shared) for m, v in (("ece", abs(sure - share)), ("entropy", 1.0))
            ]
            if blur != "sharp":
                loss = share - levels["sharp"]
                view = {"view": "dense vs sharp image"}
                rows.append(records.row(metric="top1_change", value=loss, ci_low=loss - 0.03, ci_high=loss + 0.03,
                                        **shared | view))  # fmt: skip
    return records.table(rows)


def note(classes=10, **more):
    parameters = {"frame": 512, "seed": 0, "view": "dense", "border": "reflect", "precision": "float32"}
    situations = [("near", "D5"), ("far", "D9"), ("still", "sharp"), ("walk", "M15@0"), ("absurd", "")]
    return {
        "parameters": parameters,
        "versions": {"blurnb": "0", "torch": "0", "python": "3"},
        "date": "2026-01-01T00:00:00",
        "classes": classes,
        "most_frequent_class": 0.1,
        "network_origin": {"source": "net", "weights": "its own"},
        "normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]},
        "camera": {"camera": "50 mm", "situations": [{"situation": s, "blur": b} for s, b in situations]},
        "skipped": {},
    } | more


NOBODY = records.table([])


def test_the_facts_on_top_are_the_records():
    facts = card.headline(planted(), note())
    assert [number for number, _ in facts] == ["90.0 %", "40.0 %", "D7.0"]
    # half above chance is 0.1 + 0.8 / 2 = 0.5, on the line from 0.8 at 4 to 0.4 at 8: 4 + 4 * 0.3 / 0.4
    assert doses.half_doses(planted(), 0.1)["256"].radius == pytest.approx(7.0)


def test_half_that_is_not_reached_is_said_to_lie_beyond():
    rows = planted({"sharp": 0.9, "D2": 0.85, "D4": 0.8})
    number, words = card.headline(rows, note())[2]
    assert number == "> D4"
    assert "beyond 4, the largest radius tested" in words


@pytest.mark.parametrize(
    "label, expected",
    [
        ("D4", "−10.0 [−13.0, −7.0]"),  # as measured
        ("D5", "−20.0 [−23.0, −17.0]"),  # a quarter of the way from −10 to −50
        ("D1", "−2.0 [−3.5, −0.5]"),  # half way from no change at all
        ("M15@0", "−15.0 [−18.0, −12.0]"),  # another angle is no other blur
        ("sharp", "none"),
        ("D9", "beyond the strongest measured, D8"),
        ("M21@30", "beyond the strongest measured, a length of 20"),
    ],
)
def test_between_measured_strengths_the_card_interpolates_and_never_beyond(label, expected):
    here = card.main(selection.split_view(planted()))
    assert card.interpolated(here, label) == expected


def test_a_family_that_was_not_measured_is_not_invented():
    here = card.main(selection.split_view(planted({"sharp": 0.9, "D8": 0.5})))
    assert card.interpolated(here, "M15@0") == "no motion was measured"


def test_the_camera_table_says_what_each_situation_costs():
    table = card.situations(planted(), note()).set_index("situation")["change of top-1, points"]
    assert table["near"].startswith("−20.0")
    assert table["far"].startswith("beyond")
    assert table["absurd"] == "wider than the frame"


def test_advice_names_the_family_that_costs_most_and_only_where_intervals_part():
    (first, *_), code = advice.steps(planted(), note(), NOBODY), advice.recipe(selection.split_view(planted()), note())
    assert "Defocus costs it most." in first
    assert "−50.0 [−53.0, −47.0] under D8" in first
    assert 'RandomBlur(mix="defocus")' in code
    level = planted(BLURS | {"D8": 0.7, "G4": 0.7, "M20@30": 0.7, "shake": 0.7})
    said = advice.steps(selection.split_view(level), note(), NOBODY)[0]
    assert "The kind of blur that costs it most is not clear." in said


def test_advice_on_confidence_scale_and_few_images():
    said = " ".join(advice.steps(selection.split_view(planted()), note(), NOBODY))
    assert "under D8 it is +50.0" in said
    assert "too wide to act on" not in said
    calm = " ".join(advice.steps(selection.split_view(planted(sure=0.4)), note(), NOBODY))
    assert "surer than right" not in calm
    few = " ".join(advice.steps(selection.split_view(planted(n=20)), note(), NOBODY))
    assert "With 20 images the intervals are too wide to act on" in few
    rows = [*planted(scales=("256",)).to_dict("records"),
            *planted({"sharp": 0.7, "D2": 0.7, "D4": 0.7, "D8": 0.6}, scales=("128",)).to_dict("records")]  # fmt: skip
    mixed = " ".join(advice.steps(selection.split_view(records.table(rows)), note(), NOBODY))
    assert "Show it sharp images 256 pixels high, but blurred ones 128: under D8 that is +20.0" in mixed


def test_a_network_that_guesses_is_told_so_and_nothing_else():
    rows = planted(dict.fromkeys(BLURS, 0.1))
    (only,) = advice.steps(selection.split_view(rows), note(), NOBODY)
    assert "at chance level" in only
    assert [part.title for part in card.sections(rows, note(), NOBODY)] == [
        "What to do about it",
        "Accuracy under every blur",
        "Accuracy and confidence, scale 256",
        "How this card was made",
    ]
    # always naming the class that has 80 % of the images is guessing, too
    most = planted(dict.fromkeys(BLURS, 0.8))
    assert advice.guessing(card.main(selection.split_view(most)), note(most_frequent_class=0.8))


def test_comparison_is_with_the_same_blur_scale_and_frame_only():
    reference = [
        *planted({"sharp": 0.8, "D8": 0.2, "D12": 0.1}, question="rq1", network="ref", training="sharp").to_dict(
            "records"
        ),
        *planted(question="rq1", network="tiny", dataset="tiny, frame 128", training="sharp").to_dict("records"),
        *planted(question="rq2", network="tuned", training="mix").to_dict("records"),
    ]
    table = card.comparison(planted(), records.table(reference))
    assert list(table["condition"]) == ["D8"]
    assert len(table.columns) == 3
    assert table.iloc[0, 1].startswith("44.4")  # 0.4 / 0.9
    assert table.iloc[0, 2].startswith("25.0")
    assert card.comparison(planted(), NOBODY).empty


def test_the_committed_runs_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = card.references()
    assert {"rq1", "doses"} <= set(found["question"])


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.given, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.given += attributes

    def handle_data(self, data):
        self.text.append(data)


def test_nothing_that_a_file_is_called_is_obeyed(tmp_path):
    name = " ".join(EVIL.split())
    rows, about = planted(network=name, dataset=name), note(network_origin={"source": EVIL, "weights": "none"})
    paths = card.write(tmp_path, rows, about, NOBODY)
    page = Reader(paths[0].read_text())
    assert not {"b", "script", "iframe", "object", "a"} & set(page.tags)
    assert any(name in text for text in page.text)
    assert not any(key.startswith("on") for key, _ in page.given)
    sources = [value for key, value in page.given if key in ("src", "href")]
    assert sources
    assert all(value.startswith("data:") for value in sources)
    text = paths[1].read_text()
    assert "[l](javascript" not in text
    assert "<b>" not in text
    assert {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("| net")} <= {3}


def test_the_markdown_shows_the_figures_beside_it(tmp_path):
    text = card.write(tmp_path, planted(), note(), NOBODY)[1].read_text()
    for file in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / file).read_text().startswith("<?xml")
    assert "card_1.svg" in text
    assert "RandomBlur" in text


def answers(drops, n=40):
    """Answers of classes that are right on every sharp image and wrong on a share of the blurred ones."""
    import pandas as pd

    rows = []
    for label, drop in enumerate(drops):
        for i in range(n):
            image = f"{label}-{i}"
            rows.append((image, label, "256", "sharp", True))
            rows.append((image, label, "256", "D8", i >= drop * n))
    return pd.DataFrame(rows, columns=["image", "label", "scale", "blur", "top1"])


def by_class(found, names):
    from blurnb.study import evaluation

    rows = evaluation.by_class(found, names, evaluation.Protocol(), scale="256", blur="D8", question="card",
                               network="net", dataset="d", run_id="r")  # fmt: skip
    return records.table(rows)


def test_the_class_that_breaks_first_is_the_planted_one():
    rows = by_class(answers([0.1, 0.9, 0.1, 0.1]), ["cat", EVIL, "owl", "eel"])
    found = classes.losses(rows)
    assert found["class"][0] == " ".join(EVIL.split()).replace(" vs ", " v ")
    assert found["change"][0][0] == pytest.approx(-0.9)
    assert found["sharp"][0][0] == 1
    assert "Of 4 classes (n = 40 a class), 1 lose more under D8" in classes.sentence(rows)
    assert classes.first_to_break(rows)._repr_png_()
    assert len(classes.table(rows)) == 4


def test_a_class_of_few_images_gets_no_number():
    rows = by_class(answers([0.5, 0.5], n=4), ["cat", "dog"])
    assert rows.empty
    assert classes.sentence(rows) == "No class has enough images for a number of its own."
    with pytest.raises(UserError, match="at least five images"):
        classes.first_to_break(rows)


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
    sharp = selection.select(rows, metric="top1", blur="sharp", seen="dense")
    assert (sharp["value"].iloc[0], sharp["n"].iloc[0]) == (1.0, 12)  # the colour is the class: a planted truth
    (about,) = notes.values()
    assert len(about["skipped"]) == 1
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


def test_an_imagenet_tree_is_recognised_and_a_set_is_drawn_at_most_whole(tmp_path, monkeypatch):
    for wnid in ("n01440764", "n01443537"):
        (tmp_path / "val" / wnid).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "val" / wnid / "x.JPEG")
    given = {"data_root": str(tmp_path), "profile": "photographs"}
    parameters = profiles.validate("your_network", given)
    dataset = robustness.opened_dataset(parameters)
    assert (dataset.name, len(dataset.classes)) == ("imagenet", 1000)
    assert len(robustness._drawn(dataset, parameters)) == 2
    plain = profiles.validate("your_network", given | {"dataset": "folder", "data_root": str(tmp_path / "val")})
    assert robustness.opened_dataset(plain).classes == ("n01440764", "n01443537")


def test_situations_follow_the_camera():
    near = profiles.validate("your_network", {"focus_distance_m": 0.5})
    labels = {one["situation"]: one["blur"] for one in robustness.situations(near)["situations"]}
    assert labels["subject 10 cm behind focus"] == "D5.49"  # by hand in test_camera
    tight = profiles.validate("your_network", {"focus_distance_m": 0.12})
    labels = {one["situation"]: one["blur"] for one in robustness.situations(tight)["situations"]}
    assert labels["subject 10 cm before focus"] == ""  # inside the focal length: no image, no label


# --- the card as it is seen ------------------------------------------------------------------------------------------


def test_the_card_is_legible_in_a_browser_light_and_dark_on_a_desk_and_a_phone(tmp_path):
    import shutil

    from test_book import faults_of

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("THE CARD WAS NOT LOOKED AT: no chromium is installed (Debian: the package chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    card.write(tmp_path, planted(), note(classes=100), card.references())
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (1280, 390):
            assert faults_of(browser, tmp_path.as_uri() + "/", ["card.html"], width) == []
        browser.close()


def test_the_module_is_the_command():
    arguments = [sys.executable, "-m", "blurnb", "card", "--network", "resnet18"]
    answer = subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert answer.returncode == 2
    assert "--data" in answer.stderr
