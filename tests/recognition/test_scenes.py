import numpy as np
import pytest
import scipy.fft
import torch

from blurnb.errors import UserError
from blurnb.optics.blurring import blur
from blurnb.recognition import scenes as module
from blurnb.recognition.scenes import AMBIGUOUS, BACKGROUND, CLASSES, labels, scenes

N = 480


@pytest.fixture(scope="module")
def drawn():
    return scenes("train", range(N))


def test_types_ranges_and_shapes(drawn):
    images, classes, maps = drawn
    assert images.shape == (N, 3, 96, 96)
    assert images.dtype == torch.float32
    assert classes.shape == (N,)
    assert classes.dtype == torch.int64
    assert maps.shape == (N, 96, 96)
    assert maps.dtype == torch.uint8
    assert images.min() >= 0
    assert images.max() <= 1
    saturated = ((images == 0) | (images == 1)).float().mean()
    assert saturated < 0.02


def test_image_depends_on_its_index_alone(drawn):
    some = [417, 3, 3, 112]
    for got, whole in zip(scenes("train", some), drawn):
        assert torch.equal(got, whole[some])
    alone = scenes("train", iter([112]))
    for got, whole in zip(alone, drawn):
        assert torch.equal(got[0], whole[112])


def test_labels_are_those_of_the_scenes(drawn):
    assert torch.equal(labels("train", range(N)), drawn[1])
    assert torch.equal(labels("train", [417, 3]), drawn[1][[417, 3]])


def test_splits_and_seeds_are_disjoint():
    streams = [("train", 0), ("val", 0), ("test", 0), ("train", 1), ("test", 1)]
    images = torch.cat([scenes(split, range(24), seed=seed, side=32)[0] for split, seed in streams])
    seen = {image.numpy().tobytes() for image in images}
    assert len(seen) == len(images)


def test_every_block_of_indices_holds_each_class_once(drawn):
    blocks = drawn[1].reshape(-1, len(CLASSES))
    assert (blocks.sort(1).values == torch.arange(len(CLASSES))).all()
    assert len({tuple(block.tolist()) for block in blocks}) > N // len(CLASSES) // 2  # and in no fixed order


def test_no_indices_give_empty_tensors():
    images, classes, maps = scenes("val", [])
    assert images.shape == (0, 3, 96, 96)
    assert classes.shape == (0,)
    assert maps.shape == (0, 96, 96)


def test_label_map_holds_the_class_within_a_thin_ring(drawn):
    _, classes, maps = drawn
    for label, label_map in zip(classes.tolist(), maps.numpy()):
        assert set(np.unique(label_map)) == {BACKGROUND, label + 1, AMBIGUOUS}
        solid, ring = label_map == label + 1, label_map == AMBIGUOUS
        assert 0.02 < solid.mean() < 0.5
        assert ring.mean() < 0.06
        # the outline always separates: no object pixel has background beside it
        outside = label_map == BACKGROUND
        assert not (solid[1:] & outside[:-1]).any()
        assert not (solid[:-1] & outside[1:]).any()
        assert not (solid[:, 1:] & outside[:, :-1]).any()
        assert not (solid[:, :-1] & outside[:, 1:]).any()


def test_label_map_agrees_with_the_pixels(monkeypatch):
    monkeypatch.setitem(module._RANGES, "spread", (0.0, 0.0))  # a flat background shows exactly what is painted
    images, _, maps = scenes("val", range(36))
    flat = images[:, :, :1, :1]
    assert (maps[:, 0, 0] == BACKGROUND).all()
    painted = ((images - flat).abs() > 1e-6).any(1)
    assert not (painted & (maps == BACKGROUND)).any()
    assert (painted & (maps != BACKGROUND)).sum() > 0.98 * (maps != BACKGROUND).sum()


def test_objects_are_the_same_at_every_side():
    _, small_labels, small = scenes("test", range(48), side=48)
    _, large_labels, large = scenes("test", range(48), side=144)
    assert torch.equal(small_labels, large_labels)
    centres = large[:, 1::3, 1::3]
    agreement = ((small == centres) | (small == AMBIGUOUS) | (centres == AMBIGUOUS)).float().mean()
    assert agreement > 0.999


def test_background_has_the_spectrum_of_natural_images():
    side, power = 128, 0.0
    for seed in range(30):
        noise = module._background(np.random.default_rng(seed), np.full(3, 0.5), 0.1, side)
        assert noise.std() == pytest.approx(0.1, rel=0.05)
        power = power + (np.abs(np.fft.fft2(noise)) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    band = (frequency > 0.02) & (frequency < 0.5)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.05)  # amplitude 1/f


def probe(features, classes):
    """Accuracy of least squares on one-hot targets, fitted on one half, tested on the other."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    features = np.hstack([features, features**2, np.ones((len(features), 1))])
    half = len(features) // 2
    gram = features[:half].T @ features[:half] + 1.0 * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, features[:half].T @ np.eye(len(CLASSES))[classes[:half]])
    return ((features[half:] @ weights).argmax(1) == classes[half:]).mean()


def shape_features(maps):
    """Moments of the silhouette that neither place, size nor rotation changes."""
    rows = []
    for label_map in maps:
        y, x = np.nonzero(label_map)
        z = (x - x.mean() + 1j * (y - y.mean())) / np.sqrt(len(x))
        moments = [np.abs(np.mean(z**p * np.abs(z) ** (q - p))) for p in range(7) for q in (p, p + 1, p + 2, p + 4)]
        rows.append(np.log(np.array(moments[1:]) + 1e-3))
    return np.array(rows)


def texture_features(images, maps):
    """Rotation-averaged correlations of the brightness inside the object: nothing of its outline."""
    rows = []
    for image, label_map in zip(images.numpy(), maps):
        solid = (label_map != BACKGROUND) & (label_map != AMBIGUOUS)
        colours = image[:, solid] - image[:, solid].mean(1, keepdims=True)
        axis = np.linalg.svd(colours, full_matrices=False)[0][:, 0]
        plane = np.where(solid, np.tensordot(axis, image, 1), 0.0)
        plane = np.where(solid, plane - plane[solid].mean(), 0.0) / (plane[solid].std() + 1e-6)
        correlation, overlap = (  # lags up to 9 only, so 12 more pixels keep the circle from closing
            scipy.fft.irfft2(np.abs(scipy.fft.rfft2(part.astype(np.float32), (108, 108))) ** 2)
            for part in (plane, solid)
        )
        correlation = np.fft.fftshift(correlation / np.maximum(overlap, 1))
        y, x = np.indices(correlation.shape) - 54
        radius = np.hypot(x, y)
        rings = [correlation[(radius >= r) & (radius < r + 1)] for r in range(1, 9)]
        skew = np.abs(np.mean(plane[solid] ** 3))
        rows.append([*(f(ring) for ring in rings for f in (np.mean, np.std)), skew])
    return np.array(rows)


def test_shape_and_texture_each_tell_the_class(drawn):
    images, classes, maps = drawn[0], drawn[1].numpy(), drawn[2].numpy()
    assert probe(shape_features(maps), classes) > 0.6
    assert probe(texture_features(images, maps), classes) > 0.4
    shuffled = np.random.default_rng(0).permutation(classes)
    assert probe(shape_features(maps), shuffled) < 0.2  # the probe can fail


def test_blur_takes_the_texture_step_by_step(drawn):
    images, _, maps = drawn
    images, solid = images[:120], (maps[:120] != BACKGROUND) & (maps[:120] != AMBIGUOUS)

    def energy(label):  # of the fine structure inside objects
        blurred = blur(images, label)
        fine = blurred - torch.nn.functional.avg_pool2d(blurred, 5, 1, 2, count_include_pad=False)
        return (fine**2).sum(1)[solid].mean().item()

    sharp, *left = [energy(label) for label in ("sharp", "D4", "D6", "D8")]
    assert sharp > left[0] > left[1] > left[2]
    assert left[0] > 0.5 * sharp
    assert left[2] < 0.35 * sharp


def test_a_split_that_there_is_not_is_named():
    with pytest.raises(UserError, match="did you mean val"):
        scenes("vall", [0])
