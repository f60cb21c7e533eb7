"""A card whose answers are known: planted accuracies, and the manifest beside them."""

from planted import row, rows

from blurnb import intervals

BLURS = {"sharp": 0.9, "D2": 0.86, "D4": 0.8, "D8": 0.4, "G4": 0.6, "M10@30": 0.8, "M20@30": 0.7, "shake": 0.75}
NOBODY = rows()


def planted(levels=BLURS, scales=("128", "256"), n=500, sure=0.9, **more):
    """Records of a network whose accuracy under each blur is given, the same at every scale."""
    fields = {"experiment": "card", "dataset": "folder", "folder": "photos", "training": "as given", "n": n} | more
    found = []
    for scale in scales:
        for blur, share in levels.items():
            shared = {"scale": scale, "blur": blur} | fields
            for metric, value in (("top1", share), ("top5", min(1, share + 0.05)), ("confidence", sure)):
                low, high = intervals.wilson(round(value * n), n)
                found.append(row(metric=metric, value=value, ci_low=low, ci_high=high, **shared))
            for metric, value in (("ece", abs(sure - share)), ("entropy", 1.0)):
                found.append(row(0.02, metric=metric, value=value, **shared))
            if blur != "sharp":
                found.append(row(0.03, value=share - levels["sharp"], versus_blur="sharp", **shared))
                kept = {"statistic": "kept", "versus_blur": "sharp"}
                found.append(row(0.04, value=share / levels["sharp"], **{**shared, **kept}))
        mean = {"blur": "", "part_kind": "mean", "part": "+".join(blur for blur in levels if blur != "sharp")}
        found.append(row(0.02, value=0.5, scale=scale, **{**fields, **mean}))
    return rows(*found)


def note(classes=10, **more):
    """The manifest of a card's run."""
    situations = [("near", "D5"), ("far", "D9"), ("still", "sharp"), ("walk", "M15@0"), ("absurd", "")]
    return {
        "versions": {"blurnb": "0", "torch": "0", "python": "3"},
        "date": "2026-01-01T00:00:00",
        "classes": classes,
        "most_frequent_class": 0.1,
        "network_origin": {"source": "net", "weights": "own"},
        "normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]},
        "camera": {"camera": "50 mm", "situations": [{"situation": s, "blur": b} for s, b in situations]},
        "skipped": {},
    } | more
