"""The command line: each command is one call into the package."""

import keyword
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from blurnb.errors import UserError, nearest, printable, shown

NOTEBOOKS = Path("notebooks")
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Pairs = Annotated[list[str] | None, typer.Option("-p", help="a parameter, NAME=VALUE; repeat for more")]


@app.callback()
def _main() -> None:
    """What optical blur does to recognition, and what can be done about it."""


def pairs(given: list[str] | None) -> dict[str, str]:
    """NAME=VALUE texts as a dict."""
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"-p {shown(text)} is not NAME=VALUE; for example -p n_images=100")
        if not name.isidentifier() or name.startswith("_") or keyword.iskeyword(name):
            raise UserError(f"-p {shown(text)}: a parameter's name is a word such as n_images")
        found[name] = value
    return found


def typed(texts: Mapping[str, str], idle: Mapping[str, str] = {}) -> dict:
    """The texts as the numbers, booleans and lists that they spell (`values.spelled`).

    `idle` are parameters that the command has no use for, or takes as an option, each with why.
    """
    from blurnb.study import values

    found = {}
    for name, text in texts.items():
        if name in idle:
            raise UserError(f"-p {name}={text[:160]} would change nothing: {idle[name]}")
        try:
            found[name] = values.spelled(text)
        except ValueError as error:
            raise UserError(f"-p {name}={text[:160]} is not a number, text or list") from error
        if found[name] is None:
            raise UserError(f"-p {name}= has no value; leave it out for the profile's default")
    return found


def located(chapter: str, folder: Path) -> Path:
    """The notebook that `chapter` names: by its path, or short as rq1 for notebooks/rq1_degradation.ipynb."""
    from blurnb.study import chapters

    path = Path(chapter)
    if path.suffix == ".ipynb" and folder != NOTEBOOKS:
        raise UserError(f"--folder {folder} would change nothing: {path} says itself where it lies")
    if path.suffix != ".ipynb":
        notebooks = {name: folder / f"{module}.ipynb" for name, module in chapters.names().items()}
        known = {name: path for name, path in notebooks.items() if path.is_file()}
        if chapter not in known:
            close = nearest(chapter, known)
            raise UserError(f"chapter {chapter!r} is not in {folder}{close}; there: {', '.join(known)}")
        path = known[chapter]
    if not os.path.isfile(path):  # False, not an error, for a name that is too long
        raise UserError(f"no notebook at {path}")
    return path


ChapterName = Annotated[str, typer.Argument(metavar="CHAPTER", help="rq1 ... rq5, card, or the path of a notebook")]
Folder = Annotated[Path, typer.Option(help="the folder with the notebooks")]


@app.command()
def run(
    chapter: ChapterName,
    parameters: Pairs = None,
    output: Annotated[Path | None, typer.Option(help="where the executed notebook goes")] = None,
    folder: Folder = NOTEBOOKS,
    shard: Annotated[str, typer.Option(help="2/5: answer only the second fifth of the images, without notebook")] = "",
) -> None:
    """Check the parameters, then run a chapter with papermill; nothing starts when one of them is wrong."""
    from blurnb.study import chapters, notebooks, sweeps

    path = located(chapter, folder)
    if shard and output:
        raise UserError(f"--output {output} would change nothing: a shard is answered without a notebook")
    idle = dict.fromkeys(("output_dir", "dose_blurs", "dose_scales"), "it is of the run that records") if shard else {}
    given, name = typed(pairs(parameters), idle), chapters.short(path.stem)
    if shard:
        for facts, answers in sweeps.answer(name, given, *sweeps.part(shard)):
            told = f"{facts['network']} on {facts['dataset']}: {len(answers):,} images answered, part {shard}"
            print(printable(told))
        return
    checked = chapters.found(name).Parameters.validate(given) if name in chapters.names() else None
    target = output or Path(checked.output_dir if checked else "out") / path.name
    if reason := notebooks.run(path, target, given, checked=checked is not None):
        raise UserError(f"{reason}; see {notebooks.running(target)}")


@app.command()
def sweep(
    chapter: ChapterName,
    parameters: Annotated[
        list[str] | None,
        typer.Option("-p", help="NAME=A,B is one run for each value; NAME=[A,B] one run with a list; repeat for more"),
    ] = None,
    file: Annotated[Path | None, typer.Option("-f", help="the same as YAML, or a list of whole sets")] = None,
    output: Annotated[Path, typer.Option(help="where runs and their merged records go")] = Path("out"),
    scheduler: Annotated[str, typer.Option(help="local, or a Dask scheduler such as tcp://host:8786")] = "local",
    workers: Annotated[int, typer.Option(min=0, help="how many on this machine; 0: one a processor")] = 0,
    shards: Annotated[int, typer.Option(min=1, help="cut the images of each run into so many parts (rq1)")] = 1,
    folder: Folder = NOTEBOOKS,
) -> None:
    """Run a chapter for every combination of parameters on Dask workers; a rerun does what failed or is missing."""
    from blurnb.study import grids, sweeps

    if workers and scheduler != "local":
        raise UserError(f"--workers {workers} would change nothing: {scheduler} has the workers that joined it")
    read = grids.read(file) if file else {}
    grid = {name: grids.values(name, text) for name, text in pairs(parameters).items()}
    given = grids.sets({**read, **grid}) if isinstance(read, dict) else grids.sets(grid, read)
    found = sweeps.chapter(located(chapter, folder))
    _told(sweeps.run(found, given, output, scheduler=scheduler, workers=workers, shards=shards), output)


@app.command()
def status(output: Annotated[Path, typer.Argument(metavar="FOLDER", help="the --output of a sweep")]) -> None:
    """Say which runs of a sweep are done, failed or missing; exit code 1 unless all are done."""
    from blurnb.study import sweeps

    _told(sweeps.status(output), output, each=True)


def _told(runs, output: Path, each: bool = False) -> None:
    """Counts, and a line for each run that failed (for `each` run); exit code 1 unless all are done."""
    counts = runs["state"].value_counts()
    for one in runs.itertuples():
        if each:
            print(printable(f"{one.run}  {one.state:8}{one.seconds:8.1f} s  {one.what}"))
        if one.state == "failed":
            print(printable(f"failed: {one.what}: {one.reason}; see {output / 'runs' / one.run}"), file=sys.stderr)
    told = ", ".join(f"{counts[state]} {state}" for state in ("done", "failed", "missing") if state in counts)
    print(printable(f"{len(runs)} runs in {output}: {told}"))
    if counts.get("done", 0) < len(runs):
        raise typer.Exit(1)


ASKED = ("seed", "n_images", "scales", "blurs", "view", "flip", "rounding", "batch", "workers", "strict", "output_dir",
         "layer_blurs", "layer_images", "frozen", "tested_on")  # fmt: skip
"""Parameters of RQ2 that only its evaluation reads."""


@app.command()
def finetune(
    parameters: Pairs = None,
    mix: Annotated[str, typer.Option(help="one training of the chapter; empty: all of them")] = "",
) -> None:
    """Train the networks of RQ2 and RQ3 without a notebook, which then finds them.

    On several GPUs: torchrun --nproc-per-node N -m blurnb finetune -p profile=paper -p data_root=DATA -p device=cuda
    """
    from blurnb.study import networks
    from blurnb.study.chapters import rq2_fine_tuning

    given = typed(pairs(parameters), dict.fromkeys(ASKED, "nothing is evaluated here"))
    checked = rq2_fine_tuning.Parameters.validate(given)
    if not (wanted := [(name, seed) for name, seed in checked.trainings() if mix in ("", name)]):
        raise UserError(f"--mix {mix!r} is not among the chapter's mixes: {', '.join(checked.mixes)}")
    for name, seed in wanted:
        _, about = networks.tuned(checked.pair, checked, name, seed)
        print(printable(f"{name}, seed {seed}: {about['weights']}"))


@app.command()
def card(
    network: Annotated[str, typer.Option(help="a name, a TorchScript or .pt2 file, or module:function")],
    data: Annotated[str, typer.Option(help="the folder with <class>/<image>, or an ImageNet tree")],
    weights: Annotated[str, typer.Option(help="imagenet | compressed | none | a checkpoint's path")] = "imagenet",
    output: Annotated[Path, typer.Option(help="where card.html, card.md and card.csv go")] = Path("card"),
    n_images: Annotated[int, typer.Option(help="at most so many, drawn by the seed; 0: all")] = 500,
    blurs: Annotated[str | None, typer.Option(help="labels with commas")] = None,
    scales: Annotated[str | None, typer.Option(help="shorter sides with commas")] = None,
    mean: Annotated[str, typer.Option(help="of the normalisation: 1 or 3 numbers, or none; empty: usual")] = "",
    std: Annotated[str, typer.Option(help="as mean")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="an unreadable image ends the run")] = False,
    parameters: Pairs = None,
) -> None:
    """How robust is a network to blur, on your photographs: a page as HTML and Markdown, and its records.

    A TorchScript or .pt2 file and module:function run code that came with them: use what you trust. The camera of the
    card: -p focal_length_mm=50 -p f_number=1.8 -p focus_distance_m=1 -p sensor_height_mm=24 -p exposure_s=0.02
    """
    from blurnb.study.chapters import card as chapter

    given = {"profile": "photographs", "network": network, "weights": weights, "dataset": "auto", "data_root": data}
    given |= {"n_images": n_images, "blurs": blurs, "scales": scales, "mean": mean, "std": std, "strict": strict}
    given |= {"output_dir": str(output)}
    names = {"data_root": "data", "output_dir": "output", "n_images": "n-images"}
    options = {name: f"give it as --{names.get(name, name)}" for name in given if name not in ("profile", "dataset")}
    given |= typed(pairs(parameters), options)
    found = chapter.run(chapter.Parameters.validate(given))

    from blurnb.report import card as report

    (note,) = found.manifests.values()
    for path in report.write(output, found.rows, note, report.references()):
        print(printable(path))
    for number, words in report.headline(found.rows, note):
        print(printable(f"{number}: {words}"))
    if note["skipped"]:
        print(f"{len(note['skipped'])} unreadable images skipped")


@app.command()
def rounding(parameters: Pairs = None) -> None:
    """Answer RQ1's conditions with and without rounding to 8 bits; writes rounding.csv to the output_dir."""
    _each_way("rounding", parameters, {"rounding": "every one is tried", "precision": "float32 and bf16 are tried"})


@app.command()
def resampling(parameters: Pairs = None) -> None:
    """Answer RQ1's conditions after each way of resizing; writes resampling.csv to the output_dir."""
    _each_way("resampling", parameters, {"resample": "every one is tried"})


def _each_way(experiment: str, parameters: list[str] | None, idle: dict[str, str]) -> None:
    from blurnb.study.chapters import rq1_degradation

    idle |= dict.fromkeys(("dose_blurs", "dose_scales"), "doses are the chapter's")
    checked = rq1_degradation.Parameters.validate(typed(pairs(parameters), idle))
    found = getattr(rq1_degradation, f"run_{experiment}")(checked)
    print(printable(f"{len(found.rows)} rows in {Path(checked.output_dir) / experiment}.csv"))


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="scenes, foolbox20, imagenet, imagenet-sample, tiny-imagenet, ...")],
    root: Annotated[str, typer.Option(help="the folder that holds it; empty: download where that is possible")] = "",
    split: str = "val",
) -> None:
    """Open (where possible download) a data set and say what is in it."""
    from blurnb.recognition import datasets

    if root and name in datasets.NO_FOLDER:
        raise UserError(f"--root {root} would change nothing: {name} needs no folder")
    if split in ("train", "test") and name in datasets.NO_SPLIT:
        raise UserError(f"--split {split} would change nothing: {name} is one set, without splits")
    found = datasets.load(name, root or None, split=split)
    print(f"{name}: {len(found):,} images of {len(set(found.labels)):,} classes, fingerprint {found.fingerprint}")


@app.command()
def doctor(
    data_root: Annotated[str, typer.Option(help="the folder with your data; empty: BLURNB_DATA, if it is set")] = "",
    output_dir: Annotated[str, typer.Option(help="the folder with your records; empty: out and card")] = "",
) -> None:
    """Check versions, machine, cache, data, weights and records; exit code 1 if something is wrong."""
    from blurnb.study import doctor as study

    wrong = 0
    for check in study.examine(data_root=data_root, output_dir=output_dir):
        print(printable(check), flush=True)
        wrong += check.state == "wrong"
    if wrong:
        raise typer.Exit(1)
