"""Every metric that a record may hold: what it means and how it is printed. The only list of them."""

from typing import NamedTuple


class Metric(NamedTuple):
    """What a number is, and how tables and figures show it.

    `heading` stands over a column, `axis` along a figure; both name the unit. A share lies in [0, 1] and is printed
    in percent; a proportion is a share of counted images (Wilson's interval applies). `digits` are the significant
    ones of what is no share.
    """

    meaning: str
    heading: str
    axis: str = ""
    is_share: bool = False
    is_proportion: bool = False
    digits: int = 3

    @property
    def factor(self) -> int:
        """What a value is multiplied by before it is printed or drawn."""
        return 100 if self.is_share else 1

    @property
    def along(self) -> str:
        """The label of a figure's axis."""
        return self.axis or self.heading

    @property
    def spoken(self) -> str:
        """The metric in the middle of a sentence that names its unit: `top-1`."""
        return self.heading.removesuffix(", %")


def _share(meaning: str, heading: str, axis: str = "", counted: bool = False) -> Metric:
    return Metric(meaning, heading, axis, is_share=True, is_proportion=counted)


METRICS = {
    "top1": _share("share of images whose most probable class is the true one", "top-1, %", "top-1 accuracy, %", True),
    "top5": _share(
        "share of images whose true class is among the five most probable", "top-5, %", "top-5 accuracy, %", True
    ),
    "entropy": Metric("mean entropy of the class probabilities, nats", "entropy, nats"),
    "p_true": _share("mean probability of the true class", "probability of the true class, %", "p(true class), %"),
    "confidence": _share("mean probability of the answer given", "confidence, %"),
    "ece": _share("expected calibration error, 15 equal-width bins", "calibration error, %"),
    "iou": _share("intersection over union of one class", "IoU, %"),
    "miou": _share("mean intersection over union, one confusion matrix over the set", "mIoU, %"),
    "pixel_accuracy": _share("share of labelled pixels answered right", "pixel accuracy, %", "", True),
    "psnr": Metric("mean peak signal-to-noise ratio, dB", "PSNR, dB"),
    "cosine": Metric(
        "mean cosine similarity of a layer's activations, image against twin",
        "cosine", "cosine similarity with the sharp twin",
    ),
    "cka": Metric(
        "linear centred kernel alignment of a layer's activations, images against twins",
        "CKA", "linear CKA with the sharp twins",
    ),
    "agreement": _share("share of images given the same most probable class as by the other side", "agreement, %"),
    "kernel_sd": Metric(
        "standard deviation of a kernel in frame pixels, root mean square over axes and images",
        "standard deviation of the kernel, pixels", "standard deviation of the kernel",
    ),
    "half_radius": Metric("defocus radius that halves what a metric is above chance, pixels", "half gone, pixels"),
    "seconds": Metric("seconds per image", "seconds per image"),
    "images_per_second": Metric("images a second, all channels", "images a second"),
    "max_error": Metric("largest difference from float64 over one image, levels of 8 bits", "largest error"),
    "peak_memory": Metric("peak resident memory of the process, MB", "peak memory, MB"),
}  # fmt: skip

STATISTICS = {
    "estimate": "the number itself",
    "difference": "this side minus the other, over the same images",
    "kept": "this side in units of the other, over the same images",
    "recovered": "share of what the other training loses from sharp images to this blur that this training does not",
    "p_value": "McNemar's exact p-value that both sides are right equally often",
}
