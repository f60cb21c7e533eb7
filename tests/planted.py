"""What tests plant, so that they know the answer."""

from blurnb import records

# ------------------------------------------------------------------------------------------------ records

PLAIN = {
    "experiment": "rq1", "profile": "photographs", "dataset": "scenes", "network": "net", "weights": "imagenet",
    "training": "sharp", "frozen": "none", "per_scale": False,
    "blur": "sharp", "frame": 512, "border": "reflect", "resample": "bilinear", "rounding": "none", "noise_sd": 0.0,
    "method": "none", "kernel": "none", "scale": "256", "view": "dense", "flip": False, "precision": "float32",
    "metric": "top1", "statistic": "estimate", "value": 0.5, "n": 500, "seed": 0, "run_id": "r",
}  # fmt: skip
"""An accuracy of a sharp-trained network on sharp images."""


def row(half: float | None = None, **changes) -> dict:
    """One record: `PLAIN` but for the `changes`, with an interval of `half` to both sides of its value.

    Where the other side is named (`versus_training="sharp"`) the statistic is a difference unless it is said.
    """
    if set(changes) & set(records.VERSUS):
        changes = {"statistic": "difference"} | changes
    one = PLAIN | changes
    if half is not None:
        one = {"ci_low": one["value"] - half, "ci_high": one["value"] + half} | one
    return records.row(**one)


def layer(name: str, half: float | None = None, **changes) -> dict:
    """The similarity of a layer's answers to an image and to its sharp twin, or with `versus_image="other"` another."""
    other = {} if "versus_image" in changes else {"versus_blur": "sharp"}
    of = {"part_kind": "layer", "part": name, "view": "", "flip": None, "metric": "cosine", "statistic": "estimate"}
    return row(half, **of | other | changes)


def rows(*many: dict, **changes):
    """A checked frame of records, each with the `changes`."""
    return records.table([{**one, **changes} for one in many])
