"""What tests of figures plant alike, and what they read off a figure."""

import matplotlib as mpl
from planted import row

BLURS = ("sharp", "D2", "D4", "D8", "G4", "M21@30", "shake")


def point(blur="sharp", value=0.5, **more):
    """An accuracy with an interval from 4 points below to 3 above."""
    fields = {"network": "efficientnet_lite0", "dataset": "imagenet-sample", "metric": "top5"}
    return row(blur=blur, value=value, ci_low=value - 0.04, ci_high=value + 0.03, **(fields | more))


def curve(training="sharp", slope=0.1, **more):
    """A point for each of BLURS, each lower than the one before by `slope`."""
    return [point(b, 0.9 - slope * i, training=training, **more) for i, b in enumerate(BLURS)]


def words(figure):
    """All text of a figure."""
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def touching(texts):
    """Pairs of texts that overlap on paper."""
    boxes = [text.get_window_extent() for text in texts]
    pairs = [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.shrunk(0.97, 0.8).overlaps(b)]
    return [(texts[i].get_text(), texts[j].get_text()) for i, j in pairs]


RQ4 = [
    point(b, v, training=t, metric=m, experiment="rq4", **how)
    for t, how, top1, seconds in (
        ("sharp", {}, 0.3, 0.04),
        ("mix", {}, 0.6, 0.04),
        ("sharp", {"method": "wiener", "kernel": "true"}, 0.5, 0.2),
    )
    for b in ("D4", "D8")
    for m, v in (("top1", top1), ("seconds", seconds))
]
"""Two networks as they are, and the sharp one after a method; accuracy and seconds."""

RQ3 = [
    *(point(b, v, training=t, metric="top1", experiment="rq3") for t, v in (("sharp", 0.4), ("shake", 0.6))
      for b in BLURS),
    *(point(b, 0.7, training="mix", metric="top1", scale=s, experiment="rq3") for s in ("256", "256+512")
      for b in BLURS),
    *(point("sharp", v, training="mix", metric="seconds", scale=s, experiment="rq3")
      for s, v in (("256", 0.04), ("256+512", 0.2))),
]  # fmt: skip
"""Three trainings at one scale, the mix at an average, too."""
