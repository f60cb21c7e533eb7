"""Bad input: every one a right result, or one line that names the file or the parameter."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from blurnb.errors import UserError
from blurnb.labels import parse
from blurnb.recognition import datasets, decoding, models
from blurnb.study import answers
from blurnb.study.classification import Classification
from blurnb.study.protocol import Protocol
from blurnb.study.treatments import Treatment

from . import pictures, properties
from .disturb import folder
from .ledger import Ledger
from .processes import NOBODY, forked, may_become_another_user, open_to_all

MEMORY = 12_000_000_000  # bytes of address space: a bomb that goes off ends in one line or in a failure, not in a crash


def tried(
    ledger: Ledger, kind: str, work: Callable[[], object], *, names: str = "", user: int | None = None, must: str = ""
) -> None:
    """One input in a child of its own."""
    ledger.inputs[kind] += 1
    outcome = forked(work, user=user, memory=MEMORY, patience=120)
    if must and outcome.kind in ("done", "refused") and outcome.kind != must:
        ledger.failed("wrong numbers", f"{kind}, {names}: {outcome.kind} {outcome.text}")
    elif outcome.kind not in ("done", "refused"):
        wrong = "wrong numbers" if "read wrong" in outcome.text else "tracebacks"
        ledger.failed(wrong, f"{kind}, {names} ({outcome.kind}): {outcome.text[-1200:]}")
    elif outcome.kind == "refused" and names and names not in outcome.text:
        ledger.failed("tracebacks", f"{kind}: the line does not name {names}: {outcome.text}")


# ------------------------------------------------------------------------------------------------ images


def images(ledger: Ledger) -> None:
    """Every file by itself, then all in one folder through `datasets.load` and the loop, then the command line."""
    with folder() as place:
        sound, broken = place / "photographs" / "sound", place / "photographs" / "broken"
        sound.mkdir(parents=True)
        broken.mkdir()
        expected = {}
        for name, data, pixels in pictures.sound():
            (sound / name).write_bytes(data)
            expected[name] = pixels
            tried(ledger, "sound image", partial(_decodes_to, sound / name, pixels), must="done")
        for name, data in pictures.broken():
            (broken / name).write_bytes(data)
            tried(ledger, "broken image", partial(decoding.decode, broken / name), names=name, must="refused")
        odd_names(sound)
        tried(ledger, "folder of everything", partial(_all_of, place / "photographs", expected), must="done")
        (sound / "twenty thousand wide.png").unlink()
        tried(ledger, "folder of everything", partial(_evaluated, place / "photographs", place / "cache"), must="done")
        command(ledger, ["data", "folder", "--root", str(place / "photographs")], "folder of everything")
        command(ledger, ["data", "folder", "--root", str(broken)], "folder of everything", names=str(broken))


def odd_names(sound: Path) -> None:
    """What may lie beside images: a name that is no text, loops, folders, pipes and dangling links called as images."""
    data = pictures.saved(pictures.scene(), "PNG")
    Path(os.fsdecode(bytes(sound) + b"/\xff\xfe.png")).write_bytes(data)
    (sound / "loop.png").symlink_to("loop.png")
    (sound / "dangling.png").symlink_to("nothing.png")
    (sound / "around").symlink_to("..")
    (sound / "folder.png").mkdir()
    os.mkfifo(sound / "pipe.png")


def _decodes_to(file: Path, pixels: np.ndarray) -> None:
    found = decoding.decode(file).permute(1, 2, 0).numpy()
    if found.shape != pixels.shape or not np.allclose(found, pixels, atol=1.5 / 255):
        raise AssertionError("read wrong")


def _all_of(root: Path, expected: dict) -> None:
    found = datasets.load("folder", root)
    right = 0
    for index, one in enumerate(found.ids):
        name = one.partition("/")[2]
        try:
            pixels = found.load(index).permute(1, 2, 0).numpy()
        except datasets.UnreadableImage as error:
            if one.startswith("sound/") or "\n" in str(error):
                raise AssertionError(f"read wrong: {error}") from error
            continue
        if name in expected:
            right += 1
            if not np.allclose(pixels, expected[name], atol=1.5 / 255):
                raise AssertionError(f"read wrong: {name}")
    if right != len(expected):
        raise AssertionError(f"read wrong: {right} of {len(expected)} sound images")


def _evaluated(root: Path, cache: Path) -> None:
    """Nothing but the sound images is answered, and every other is named."""
    found = datasets.load("folder", root)
    network = models.load("vgg_mini", "none", 2)
    task = Classification({"sharp": network}, Protocol(frame=64))
    conditions = [answers.Condition(Treatment(blur), "64") for blur in ("sharp", "D8")]
    answered = answers.gather(found, conditions, task, answers.Computing(cache))
    skipped, broken = answered.circumstances["skipped"], {one for one in found.ids if one.startswith("broken/")}
    if set(skipped) != broken or any(set(each) != set(found.ids) - broken for each in answered.found.values()):
        raise AssertionError(f"read wrong: skipped {sorted(set(skipped) ^ broken)}")
    if any("\n" in line for line in skipped.values()):
        raise AssertionError("a warning of two lines")


def roots(ledger: Ledger) -> None:
    """Data roots that are no folder, or that may not be entered."""
    with folder() as place:
        photographs = place / "photographs" / "cat"
        photographs.mkdir(parents=True)
        (photographs / "a.png").write_bytes(pictures.saved(pictures.scene(), "PNG"))
        (place / "loop").symlink_to("loop")
        (place / "empty").mkdir()
        (place / "file").write_text("x")
        wrong = ["absent", "loop", "empty", "file", "photographs/cat/a.png", "a" * 5000, "zero\0byte", "~nobody-here/x",
                 "new\nline", "\udcff", "", ".."]  # fmt: skip
        for name in datasets.NAMES:
            for root in wrong:
                if root == "" and name in ("imagenet-sample", "tiny-imagenet", "imagenette"):
                    continue  # would be downloaded
                given = root if root.startswith("~") or not root else str(place / root)
                tried(ledger, "data root", partial(datasets.load, name, given))
        if not may_become_another_user():
            ledger.skip("folders without permission: root may enter them all, and this is not root either")
            return
        tiny = place / "tiny" / "tiny-imagenet-200"
        (tiny / "train" / "n01440764" / "images").mkdir(parents=True)
        (tiny / "val").mkdir()
        (tiny / "wnids.txt").write_text("n01440764\n")
        (tiny / "words.txt").write_text("n01440764\ttench\n")
        (tiny / "val" / "val_annotations.txt").write_text("")
        shutil.copy(photographs / "a.png", tiny / "train" / "n01440764" / "images" / "a.JPEG")
        imagenet = place / "imagenet" / "val" / "n01440764"
        imagenet.mkdir(parents=True)
        shutil.copy(photographs / "a.png", imagenet / "a.png")
        sets = {"folder": place / "photographs", "tiny-imagenet": place / "tiny", "imagenet": place / "imagenet"}
        open_to_all(place)
        for name, root in sets.items():
            load = partial(datasets.load, name, root, split="train" if name == "tiny-imagenet" else "val")
            tried(ledger, "folder without permission", load, user=NOBODY)
            for locked in [root, *(path for path in root.rglob("*") if path.is_dir())]:
                for mode in (0o000, 0o444, 0o111):
                    locked.chmod(mode)
                    tried(ledger, "folder without permission", partial(_reads_all_or_refuses, load), user=NOBODY)
                    locked.chmod(0o755)
        (photographs / "a.png").chmod(0)
        load = partial(datasets.load, "folder", place / "photographs")
        tried(ledger, "folder without permission", partial(_reads_all_or_refuses, load), user=NOBODY)


def _reads_all_or_refuses(load) -> None:
    found = load()
    if len(found) != 1:
        raise AssertionError("read wrong: a smaller data set")
    found.load(0)


# ------------------------------------------------------------------------------------------------ the command line

COMMANDS = [
    [], ["fly"], ["run"], ["run", "rq9"], ["run", "rq1", "-p"], ["run", "rq1", "-p", "seed"], ["run", "\udcff"],
    ["run", "a" * 5000], ["run", "zero\0byte.ipynb"], ["run", "rq1", "-p", "seed=" + "9" * 5000], ["run", "."],
    ["run", "rq1", "-p", "seed=" + "[" * 3000], ["run", "rq1", "-p", "seed=2020-99-99"],
    ["run", "rq1", "-p", "seed=.nan"],
    ["run", "rq1", "-p", "seed=-.inf"], ["run", "rq1", "-p", "n_images=-1"], ["run", "rq1", "-p", "n_images=1e99"],
    ["run", "rq1", "-p", "blurs=D" + "9" * 5000], ["run", "rq1", "-p", "blurs=M3@" + "9" * 400],
    ["run", "rq1", "-p", "_seed=3"], ["run", "rq1", "-p", "x; import os=3"], ["run", "rq1", "-p", "seed=!!bool x"],
    ["run", "rq1", "-p", "seed=!!python/object/apply:os.getcwd []"], ["run", "rq1", "-p", "output_dir=/dev/null/x"],
    ["run", "rq1", "-p", "data_root=[1,2]"], ["run", "rq1", "-p", "weights=" + "a" * 5000],
    ["run", "rq1", "-p", "weights=~nobody-here/x"], ["run", "rq1", "-p", "device=cpu:99999999999"],
    ["run", "rq1", "-p", "device=cuda:\u00b2"], ["run", "rq1", "-p", "profile=\x1b[31m\n"],
    ["run", "rq2", "-p", "layer_blurs=Q8"], ["run", "rq2", "-p", "frozen=-1"], ["run", "rq2", "-p", "train_seeds=-1"],
    ["run", "rq3", "-p", "train_scales=7"], ["run", "rq3", "-p", "scales=96,96+128", "-p", "train_scales=96"],
    ["run", "tests/conftest.py"], ["run", "_toc.yml"], ["run", "pyproject.ipynb"], ["data"], ["data", "imagnet"],
    ["data", "imagenet", "--root", "a" * 5000], ["data", "imagenet", "--root", "~nobody-here"],
    ["data", "folder", "--root", "\udcff\n"], ["data", "scenes", "--split", "\n"], ["data", "\udcff"],
    ["finetune", "-p", "profile=smoke", "--mix", "\n"], ["finetune", "-p", "learning_rate=.nan"],
    ["finetune", "-p", "epochs=-3"], ["doctor", "--data-root", "a" * 5000], ["doctor", "--output-dir", "\udcff"],
]  # fmt: skip


def commands(ledger: Ledger, count: int) -> None:
    for arguments in COMMANDS[:: max(1, len(COMMANDS) // count)]:
        command(ledger, arguments, "command line")
    ledger.inputs["command line"] += 1
    outcome = forked(partial(_called, ["data", "scenes"], "/dev/full"))
    if outcome.kind != "done" or "Traceback" in outcome.text or "Exception ignored" in outcome.text:
        ledger.failed("tracebacks", f"an answer to a full disk: {outcome.text[-800:]}")


def command(ledger: Ledger, arguments: list[str], kind: str, names: str = "") -> None:
    """`blurnb ARGUMENTS`: exit code 0, 1 or 2, no traceback, and a mistake in one line."""
    ledger.inputs[kind] += 1
    outcome = forked(partial(_called, arguments), memory=MEMORY)
    said = [line for line in outcome.text.splitlines() if line.startswith("error: ")]
    shown = f"blurnb {' '.join(arguments)[:200]!a}"
    if outcome.kind != "done" or "Traceback" in outcome.text:
        ledger.failed("tracebacks", f"{shown} ({outcome.kind}): {outcome.text[-1200:]}")
    elif len(said) > 1 or (names and said and names not in said[0]):
        ledger.failed("tracebacks", f"{shown}: {outcome.text[-400:]}")


def _called(arguments: list[str], answer: str = "") -> None:
    from blurnb.__main__ import main

    sys.stdout = open(answer or 1, "w", errors="strict", closefd=bool(answer))  # noqa: SIM115
    os.environ["BLURNB_CACHE"] = "/nowhere/blurnb"  # a command that would compute something fails at once
    sys.argv = ["blurnb", *arguments]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    if code not in (0, 1, 2):
        raise AssertionError(f"exit code {code}")


# ----------------------------------------------------------------------------------------------- tensors and label maps


def library(ledger: Ledger) -> None:
    """What a script may hand to the library."""
    from blurnb.optics import blurring, deblurring, kernels

    junk = [None, True, "x", "8", b"8", [], {}, (1,), float("nan"), float("inf"), -1, 0, 10**400, 1e-320, 1j,
            np.nan, np.array([1.0]), np.array(["a"]), object(), torch.ones(3), range(3), [[[]]],
            "9" * 5000]  # fmt: skip
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    calls = {
        "defocus": kernels.defocus, "gaussian": kernels.gaussian,
        "linear_motion": lambda v: kernels.linear_motion(v, 3),
        "angle": lambda v: kernels.linear_motion(5, v), "camera_shake": lambda v: kernels.camera_shake(0, v),
        "seed": lambda v: kernels.camera_shake(v, 8), "inertial": lambda v: kernels.camera_shake_inertial(0, v),
        "exposure": lambda v: kernels.camera_shake_inertial(0, exposure=v), "anxiety": lambda v:
        kernels.camera_shake_inertial(0, anxiety=v), "parse": parse, "blur": lambda v: blurring.blur(image, v),
        "images": lambda v: blurring.blur(v, "D8"), "frame": lambda v: blurring.blur(image, "D8", frame=v),
        "border": lambda v: blurring.blur(image, "D8", border=v), "image_ids": lambda v:
        blurring.blur(image, "shake", image_ids=v), "deblur": lambda v: deblurring.deblur(v, np.ones((1, 1))),
        "kernel": lambda v: deblurring.deblur(image, v), "noise_sd": lambda v:
        deblurring.deblur(image, np.ones((3, 3)) / 9, noise_sd=v), "weight": lambda v:
        deblurring.deblur(image, np.ones((3, 3)) / 9, weight=v), "method": lambda v:
        deblurring.deblur(image, np.ones((3, 3)) / 9, v), "network": lambda v: models.load(v, "none"),
        "weights": lambda v: models.load("vgg_mini", v, 4), "class_count": lambda v: models.load("vgg_mini", "none", v),
        "dataset": lambda v: datasets.load(v), "n_images": lambda v: datasets.load("scenes", n_images=v),
    }  # fmt: skip

    def each(name: str) -> None:
        failures = []
        for value in junk:
            try:
                with np.errstate(all="ignore"):
                    calls[name](value)
            except UserError as error:
                if "\n" in str(error):
                    failures.append(f"{value!r:.40}: two lines")
            except Exception as error:
                failures.append(f"{value!r:.40}: {type(error).__name__}: {str(error)[:120]}")
        if failures:
            raise AssertionError("\n".join(failures))

    for name in calls:
        ledger.inputs["argument of the library"] += len(junk)
        outcome = forked(partial(each, name), memory=MEMORY)
        if outcome.kind != "done":
            ledger.failed("tracebacks", f"library, {name} ({outcome.kind}): {outcome.text[-1500:]}")


def label_maps(ledger: Ledger) -> None:
    """Maps of the wrong mode or size, through the reader of labelled pixels."""
    from PIL import Image

    from blurnb.recognition import label_maps as reader

    picture = pictures.scene()
    right = Image.new("L", picture.size, 1)
    maps = {
        "sound": pictures.saved(right, "PNG"), "RGB": pictures.saved(picture, "PNG"),
        "alpha": pictures.saved(picture.convert("RGBA"), "PNG"), "empty": b"", "text": b"no image",
        "16 bit": pictures.saved(Image.fromarray(np.ones((40, 48), np.uint16)), "PNG"),
        "other size": pictures.saved(right.resize((20, 20)), "PNG"),
        "turned": pictures.saved(right.rotate(90, expand=True), "PNG"),
        "beyond": pictures.saved(Image.new("L", picture.size, 77), "PNG"), "cut": pictures.saved(right, "PNG")[:40],
        "JPEG": pictures.saved(picture, "JPEG"), "bomb": pictures.png_of(50_000, 50_000),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 40\n%%EOF\n",
    }  # fmt: skip
    for name, data in maps.items():
        with folder() as place:
            for part in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
                (place / part).mkdir(parents=True)
            (place / "classes.txt").write_text("background\nblob\n")
            (place / "ImageSets/Segmentation/val.txt").write_text("one\n")
            (place / "JPEGImages/one.jpg").write_bytes(pictures.saved(picture, "JPEG"))
            (place / "SegmentationClass/one.png").write_bytes(data)

            def read(root=place) -> None:
                reader.load("voc-layout", str(root), split="val").load(0)

            tried(
                ledger,
                "label map",
                read,
                names="" if name == "sound" else "one.png",
                must="done" if name == "sound" else "refused",
            )


# ------------------------------------------------------------------------------------------------ properties


def drawn(ledger: Ledger, count: int, seed: int) -> None:
    """Labels, kernels and parameters that hypothesis draws."""
    with folder() as place:
        for name, work in properties.PROPERTIES.items():
            tally = place / "tally"
            outcome = forked(partial(work, count, seed, tally), memory=MEMORY, patience=400)
            ledger.inputs[f"drawn {name}"] += int(tally.read_text()) if tally.exists() else 0
            tally.unlink(missing_ok=True)
            if outcome.kind != "done":
                ledger.failed("tracebacks", f"drawn {name} ({outcome.kind}): {outcome.text[-2500:]}")
