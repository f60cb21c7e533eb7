"""RQ5: what blur does to the labelling of every pixel, and what training on it recovers."""

import copy
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from blurnb import labels
from blurnb.recognition import datasets, label_maps, zoomout
from blurnb.study import measures, networks, parameters, recipes, runs, segmenters, segmenting, specimens, treatments
from blurnb.study.answers import gather
from blurnb.study.comparison import Trained
from blurnb.study.means import decided, pixel_means
from blurnb.study.runs import Opened, Recorder, Run
from blurnb.study.segmenting import Segmenting
from blurnb.study.treatments import Condition, Treatment
from blurnb.study.values import Some, one_of


class Pair(parameters.Pair):
    """A set of labelled pixels with the backbone below its head, and one scale."""

    dataset: Annotated[str, one_of(*label_maps.NAMES)]


class Parameters(parameters.Trained):
    """Segmentation: a zoomout head trained on sharp images first (`base_*`), then further on each mix.

    features: "trained" for training the backbone too, "frozen" for the head alone. hidden_channels, dropout: of the
    head. crop_width: of the part of a photograph that is trained on, pixels. backbone_share: of the learning rate.
    boundary_width: in radii of D8.
    """

    experiment: ClassVar[str] = "rq5"
    own_scale: ClassVar[bool] = True
    unused: ClassVar[tuple[str, ...]] = ("base_frozen", "max_shift")  # the head goes first; small images stay whole
    recipe_kind: ClassVar[type[recipes.Recipe]] = recipes.SegmentationRecipe

    pairs: tuple[Pair, ...]
    view: Literal["dense"] = "dense"
    small_input: Literal["adaptive", "zero-pad"] = "adaptive"  # an enlarged image would be labelled at another place
    mixes: parameters.Mixes = ("sharp", "mix")
    features: Some[Annotated[str, one_of("trained", "frozen")]] = ("trained", "frozen")
    hidden_channels: int = Field(1000, ge=1, le=100_000)
    dropout: float = Field(0.5, ge=0, lt=1)
    crop_width: recipes.CropWidth = 336
    backbone_share: recipes.Part = 0.1
    boundary_width: float = Field(1.0, gt=0, le=16)
    base_epochs: parameters.SomeEpochs = 3

    def trainings(self) -> list[tuple]:
        """(mix, seed, whether the backbone is trained too) of every network that is trained further."""
        return [
            (mix, seed, feature == "trained")
            for seed in self.train_seeds
            for feature in self.features
            for mix in self.mixes
        ]

    IDLE: ClassVar[parameters.Rules] = (
        ("crop_width", lambda p: p.pair.dataset in parameters.NATIVE, "small images are learnt whole"),
        ("backbone_share", lambda p: "trained" not in p.features, "no backbone is trained"),
    )

    def recipe(self, pair: parameters.Pair | None = None, **changed) -> recipes.Recipe:
        """As for every chapter that trains, with what a head takes beside; `scale` is the side it is trained at."""
        return super().recipe(pair, crop_width=self.crop_width, backbone_share=self.backbone_share, **changed)


def run(parameters: Parameters) -> Run:
    """Train what is missing, evaluate all on the same images; writes ``<output_dir>/rq5.csv``.

    All networks go on from one head trained on sharp images and take the same number of further steps: `sharp` and
    `mix` with the backbone trained too, as RQ2 trains whole networks, and both again with the backbone frozen.
    """
    with Recorder(parameters, "rq5", opened_images) as recorder:
        (opened,) = recorder.pairs
        maps, (scale,) = opened.images, opened.scales
        known: dict[Trained, dict] = {}
        for name, network, origin in _trained_networks(opened, parameters):
            task = Segmenting(network, name.training, opened.protocol, scale, parameters.boundary_width)
            conditions = treatments.conditions(parameters.blurs, (scale,), name.training, parameters.rounding)
            title = f"rq5: {name.training}" + ("" if name.frozen == "none" else f", {name.frozen} frozen")
            found = gather(maps, conditions, task, recorder.computing, title=title)
            matrices = known[name] = segmenting.matrices(found, len(maps.classes))
            total = sum(next(iter(matrices.values())).values()).sum(0)
            absent = [name for name, row in zip(maps.classes, total) if not row.sum()]
            run_id = recorder.ran(decided(found.decided), origin, absent_classes=absent, **found.circumstances)
            for one, regions in matrices.items():
                here = opened.columns | name.columns() | one.columns()
                recorder.add(measures.of_pixels(regions, maps.classes, here, maps.block), run_id)
                for rival, other in _rivals(name, one):
                    if (theirs := known.get(rival, {}).get(other)) is not None:
                        there = opened.columns | rival.columns() | other.columns()
                        recorder.add(measures.pixel_difference(regions, theirs, here, there, maps.block), run_id)
            recorder.add(_means(opened, name, known), run_id)
    return recorder.run


def _means(opened: Opened, name: Trained, known: Mapping[Trained, Mapping]) -> Iterator[dict]:
    """Rows about the mean over the blurs, beside the network itself and beside the sharp ones."""
    wholes = {
        who: {one.treatment.blur: sum(regions.values()) for one, regions in matrices.items()}
        for who, matrices in known.items()
        if who in (name, *(name._replace(training="sharp", frozen=frozen) for frozen in ("none", name.frozen)))
    }
    condition = next(iter(known[name]))
    for who, theirs in wholes.items():
        here, there = (
            opened.columns | one.columns() | condition._replace(training=one.training).columns() for one in (name, who)
        )
        yield from pixel_means(wholes[name], theirs, here, there, opened.images.block)


def _rivals(name: Trained, one: Condition) -> Iterator[tuple[Trained, Condition]]:
    """What a network under a blur is compared with, image by image: itself on sharp images, the sharp network whole,
    and the sharp network with the same part frozen."""
    if one != one.sharp:
        yield name, one.sharp
    same = one._replace(training="sharp")
    for frozen in dict.fromkeys(("none", name.frozen)):
        rival = name._replace(training="sharp", frozen=frozen)
        if rival != name:
            yield rival, same


def opened_images(parameters: Parameters, pair, split: str = "") -> datasets.Dataset:
    """The test images, or those of the training split."""
    return runs.opened_images(parameters, pair, split, label_maps.load)


def _trained_networks(opened: Opened, parameters: Parameters) -> Iterator[tuple[Trained, zoomout.Zoomout, dict]]:
    """(training, network, what is known of its weights) of each network of the chapter, trained if need be."""
    maps = opened_images(parameters, opened.pair, "train")
    started: dict[int, tuple[zoomout.Zoomout, dict]] = {}
    for mix, seed, whole in parameters.trainings():
        if seed not in started:
            started[seed] = _base(opened, parameters, maps, seed)
        base, origin = started[seed]
        name = Trained(mix, seed, "none" if whole else "backbone")
        recipe = _recipe(opened, parameters, mix=mix, seed=seed, end_to_end=whole, start="further")
        title = f"training on {mix}{'' if whole else ', head only'}, seed {seed}"
        network, about = segmenters.train(copy.deepcopy(base), maps, recipe, **parameters.fitting(title))
        yield name, network, about | {"start": origin}


def _base(opened: Opened, parameters: Parameters, maps: datasets.Dataset, seed: int):
    """The head that all others go on from: on the features of the classifier as it is, trained on sharp images."""
    backbone, origin = networks.ready(opened, parameters, class_count=1000)
    network = zoomout.Zoomout(backbone, len(maps.classes), parameters.hidden_channels, parameters.dropout)
    title = f"first head on sharp {maps.name}, seed {seed}"
    recipe = _recipe(opened, parameters, base=True, seed=seed)
    network, about = segmenters.train(network, maps, recipe, **parameters.fitting(title))
    return network, about | {"backbone": origin}


def _recipe(opened: Opened, parameters: Parameters, **changed):
    (side,) = labels.sides(opened.scales[0])
    return parameters.recipe(scale=0 if opened.images.native_side else side, **changed)


def examples(parameters: Parameters, blur: str = "D8", count: int = 2) -> dict:
    """What a gallery shows: `classes`, `columns` (the networks' names) and `rows`, each a dict of `title`, `blur`,
    `image` (H, W, 3), `truth` and `answers` (maps, one a column); every image sharp and under `blur`."""
    opened = runs.to_look_at(parameters, 0, opened_images)
    maps, (scale,), first = opened.images, opened.scales, parameters.train_seeds[0]
    shown = {
        name.training: Segmenting(network, name.training, opened.protocol, scale)
        for name, network, _ in _trained_networks(opened, parameters)
        if name.seed == first and name.frozen == "none"
    }
    both = [Treatment(label, rounding=parameters.rounding) for label in ("sharp", blur)]
    rows = []
    for index in specimens.spread(len(maps), count + 2)[1:-1]:
        image, truth = maps.load(int(index))
        said = [task.pixels(image, maps.ids[index], both, truth.shape) for task in shown.values()]
        for place, one in enumerate(both):
            pixels = said[0][0][place].permute(1, 2, 0).numpy()
            named = [answered[place] for _, answered in said]
            rows.append({"blur": one.blur, "image": pixels, "truth": truth.numpy(), "answers": named})
    return {"classes": maps.classes, "columns": list(shown), "rows": rows}
