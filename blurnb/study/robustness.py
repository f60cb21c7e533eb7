"""How robust is one network, anybody's: its answers to one's own photographs, as records from which a card is drawn."""

from __future__ import annotations

from pathlib import Path

from blurnb import intervals, records
from blurnb.errors import UserError
from blurnb.optics import blurring, camera
from blurnb.recognition import datasets, guests, models
from blurnb.study import degradation, evaluation
from blurnb.study.profiles import Card

TRAINING = "as given"
OFF_FOCUS_M = (-0.1, 0.1, 0.5, float("inf"))
SPEEDS_M_PER_S = {"a person walking across the view": 1.4, "a person running across the view": 5.0}
TURNS_DEG_PER_S = {"a camera panned over the scene": 20.0}


def run(parameters: Card) -> degradation.Run:
    """Evaluate the network under every blur and scale; writes ``<output_dir>/card.csv`` and its manifest."""
    dataset = opened_dataset(parameters)
    network = opened_network(parameters, dataset)
    dataset = _drawn(dataset, parameters)
    protocol, scales = parameters.protocol(), degradation.scales_for(dataset, parameters.scales)
    found, circumstances = degradation.evaluate(parameters, network, dataset, scales, protocol)
    decided = circumstances.pop("facts") | {"n": len(dataset), "selection": dataset.fingerprint}
    run_id = records.address(decided)
    label = degradation.dataset_label(dataset, protocol)
    if dataset.name == "folder":
        label = label.replace("folder", f"folder {Path(parameters.data_root).expanduser().resolve().name}", 1)
    shared = {
        "question": "card",
        "dataset": " ".join(label.split()),
        "network": " ".join(network.name.split()),
        "training": TRAINING,
        "profile": parameters.profile,
        "run_id": run_id,
    }
    rows = evaluation.summarise(found, protocol, **shared)
    for (scale, blur), part in found.groupby(["scale", "blur"], sort=False):
        value, low, high = intervals.bootstrap_mean(part["confidence"].to_numpy(), protocol.seed)
        rows.append(records.row(metric="confidence", value=value, ci_low=low, ci_high=high, scale=scale, blur=blur,
                                view=protocol.view_name, n=len(part), seed=protocol.seed, **shared))  # fmt: skip
    rows += evaluation.by_class(
        found, dataset.classes, protocol, scale=degradation.main_scale(scales),
        blur=evaluation.telling_blur(parameters.blurs), **shared,
    )  # fmt: skip
    notes = records.manifest(
        decided,
        network_origin={
            "source": parameters.network[0],
            "weights": parameters.weights[0] if parameters.network[0] in models.names() else "its own",
        },
        normalisation={"mean": network.mean.flatten().tolist(), "std": network.std.flatten().tolist()},
        classes=network.class_count,
        most_frequent_class=float(found.drop_duplicates("image")["label"].value_counts(normalize=True).max()),
        camera=situations(parameters),
        **circumstances,
    )
    records.write(Path(parameters.output_dir) / "card.csv", rows, {run_id: notes})
    return degradation.Run(records.table(rows), {run_id: notes}, {(shared["network"], shared["dataset"]): found})


def opened_dataset(parameters: Card) -> datasets.Dataset:
    """All photographs below `data_root`; "auto" is imagenet where every class folder is a WordNet id, else folder."""
    name, root = parameters.dataset[0], parameters.data_root or None
    if name != "auto":
        return datasets.load(name, root, split="test" if name == "scenes" else "val")
    try:
        return datasets.load("imagenet", root)
    except UserError:
        return datasets.load("folder", root)  # which says what it misses, if anything


def opened_network(parameters: Card, dataset: datasets.Dataset) -> models.Network:
    """The network, checked against the classes of the data before anything is computed."""
    source, weights, count = parameters.network[0], parameters.weights[0], len(dataset.classes)
    own = source in models.names()
    if own and weights == "imagenet" and count != 1000:
        raise UserError(
            f"{source} with ImageNet weights answers 1,000 classes, {dataset.name} {parameters.data_root} has {count}; "
            "name the class folders by WordNet id (n01440764 ...), or give the weights file of a network trained on "
            "them, or weights none for a random one"
        )
    return guests.load(source, weights, count, mean=parameters.mean, std=parameters.std)


def _drawn(dataset: datasets.Dataset, parameters: Card) -> datasets.Dataset:
    wanted = parameters.evidence()[0]["n_images"]
    return datasets.sample(dataset, min(wanted, len(dataset)), parameters.seed)


def situations(parameters: Card) -> dict:
    """What the camera of the parameters does to a subject off focus, crossing the view, or while it is turned.

    ``{"camera": text, "situations": [{"situation": text, "blur": label or ""}]}``; without a label the blur would be
    wider than the frame, or the situation cannot be.
    """
    lens = {"focal_length_mm": parameters.focal_length_mm, "focus_distance_m": parameters.focus_distance_m}
    sensor = {"sensor_height_mm": parameters.sensor_height_mm}
    found = []
    for away in OFF_FOCUS_M:
        where = f"subject {abs(100 * away):g} cm {'behind' if away > 0 else 'before'} focus"
        text = where if away < float("inf") else "background at infinity"
        found.append((text, lambda away=away: camera.defocus_label(
            subject_distance_m=parameters.focus_distance_m + away, f_number=parameters.f_number, **lens, **sensor
        )))  # fmt: skip
    shutter = {"exposure_s": parameters.exposure_s}
    for text, speed in SPEEDS_M_PER_S.items():
        found.append((f"{text}, {speed:g} m/s, at the focus distance", lambda speed=speed: camera.motion_label(
            camera.subject_motion_mm(
                speed_m_per_s=speed, subject_distance_m=parameters.focus_distance_m, **lens, **shutter
            ), **sensor
        )))  # fmt: skip
    for text, turn in TURNS_DEG_PER_S.items():
        found.append((f"{text}, {turn:g} degrees a second", lambda turn=turn: camera.motion_label(
            camera.camera_turn_mm(turn_deg_per_s=turn, **lens, **shutter), **sensor
        )))  # fmt: skip
    described = (
        f"{parameters.focal_length_mm:g} mm at f/{parameters.f_number:g}, focused at "
        f"{parameters.focus_distance_m:g} m, {parameters.exposure_s:g} s, sensor {parameters.sensor_height_mm:g} mm "
        "high"
    )
    return {"camera": described, "situations": [{"situation": t, "blur": _label(make)} for t, make in found]}


def _label(make) -> str:
    try:
        return blurring.parse(make()).label
    except UserError:
        return ""
