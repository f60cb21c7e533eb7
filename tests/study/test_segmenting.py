"""Naming every pixel: a perfect network scores 1, a shifted one does not, and what was answered is found again."""

import functools

import numpy as np
import planted
import pytest
import torch
from planted import asked, conditions, maps

from blurnb.errors import UserError
from blurnb.study import confusion
from blurnb.study.protocol import Protocol
from blurnb.study.segmenting import Segmenting, matrices
from blurnb.study.treatments import Treatment

BOTH = conditions(["sharp", "D64"], ["96"])


def asking(network=None, protocol=None, **changed) -> Segmenting:
    return Segmenting(network or planted.Oracle(), "sharp", protocol or Protocol(), "96", **changed)


def told(task, store, wanted=BOTH, given=None):
    found = asked(given or maps(3, 96), wanted, task, store)
    return matrices(found, 5), found.circumstances


def test_a_perfect_network_scores_1_and_one_shifted_by_a_pixel_does_not(tmp_path):
    sharp = BOTH[0]
    found, about = told(asking(), tmp_path)
    assert confusion.miou(sum(found[sharp].values()).sum(0)) == 1
    shifted, _ = told(asking(planted.Oracle(shift=1)), tmp_path)
    assert confusion.miou(sum(shifted[sharp].values()).sum(0)) < 0.95
    assert confusion.miou(shifted[sharp]["interior"].sum(0)) > confusion.miou(shifted[sharp]["boundary"].sum(0))
    assert sum(found[sharp].values()).sum() == 3 * 96 * 96
    assert about["computed_images"] == 3


def test_answers_are_kept_and_only_what_is_new_is_computed(tmp_path):
    first, _ = told(asking(), tmp_path, BOTH[:1])
    both, about = told(asking(), tmp_path)
    again, later = told(asking(), tmp_path)
    assert (about["computed_images"], later["computed_images"]) == (3, 0)
    for one, regions in again.items():
        for region, counted in regions.items():
            np.testing.assert_array_equal(counted, both[one][region])
    np.testing.assert_array_equal(first[BOTH[0]]["boundary"], both[BOTH[0]]["boundary"])


@pytest.mark.parametrize("rounding", ["8-bit blur", "8-bit"])
def test_every_rounding_rounds_what_the_network_is_shown(rounding):
    """A network of pixels would otherwise answer unrounded images under the name of rounded ones."""
    image, _ = maps(1, 96, native=False).load(0)
    both = [Treatment("D8"), Treatment("D8", rounding=rounding)]
    (plain, rounded), _ = asking().pixels(image, "block0", both, (96, 96))
    assert not torch.allclose(255 * plain, (255 * plain).round(), atol=1e-3)
    assert torch.allclose(255 * rounded, (255 * rounded).round(), atol=1e-3)


def test_answers_of_a_mirrored_image_are_mirrored_back(tmp_path):
    found, _ = told(asking(protocol=Protocol(flip=True)), tmp_path, BOTH[:1])
    assert confusion.miou(sum(found[BOTH[0]].values()).sum(0)) == 1


def test_photographs_are_answered_at_the_scale_and_compared_at_the_size_of_their_map(tmp_path):
    given = maps(2, 192, native=False)
    found, _ = told(asking(), tmp_path, BOTH[:1], given)
    total = sum(found[BOTH[0]].values()).sum(0)
    assert total.sum() == 2 * 192 * 192
    assert confusion.pixel_accuracy(total) > 0.85


def test_the_boundary_is_as_wide_under_every_blur_and_as_wide_as_asked(tmp_path):
    found, _ = told(asking(), tmp_path)
    wide, _ = told(asking(boundary_width=4.0), tmp_path)
    counts = [{region: counted.sum() for region, counted in regions.items()} for regions in found.values()]
    assert counts[0] == counts[1]
    assert wide[BOTH[0]]["boundary"].sum() > found[BOTH[0]]["boundary"].sum()


def test_scores_that_are_not_finite_are_one_line(tmp_path):
    network = planted.Oracle()
    network.forward = functools.partial(torch.Tensor.mul, other=float("nan"))
    with pytest.raises(UserError, match="not finite on block0"):
        told(asking(network), tmp_path, given=maps(1, 96))


def test_all_that_decides_an_answer_is_among_the_facts():
    small = planted.Oracle()
    small.backbone.body.small_input = "upsample"
    assert asking(small).facts["small_input"] == "upsample"
    facts = [
        asking().facts,
        asking(small).facts,
        asking(planted.Oracle(shift=1)).facts,
        asking(protocol=Protocol(flip=True)).facts,
        asking(boundary_width=2.0).facts,
    ]
    assert all(one != other for place, one in enumerate(facts) for other in facts[:place])
