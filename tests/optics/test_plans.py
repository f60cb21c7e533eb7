"""Each kind of kernel goes the way that is cheapest for it."""

import numpy as np
import pytest

from blurnb.optics import camera_shake, defocus, gaussian, linear_motion
from blurnb.optics.plans import plan_for

TENT = np.outer(np.bartlett(23)[1:-1], np.bartlett(23)[1:-1])
DENSE = np.random.default_rng(31).random((31, 31))


@pytest.mark.parametrize(
    "kernel, loop",
    [
        (np.ones((1, 1)), "copy"),
        (np.full((3, 3), 1 / 9), "convolve"),
        (linear_motion(21, 30), "convolve"),
        (camera_shake(1, 24), "convolve"),
        (defocus(8), "convolve_runs"),
        (gaussian(7.3), "convolve_separably"),
        (TENT / TENT.sum(), "convolve_separably"),
        (DENSE / DENSE.sum(), "fourier"),
    ],
)
def test_every_loop_is_chosen_by_some_kernel(kernel, loop):
    assert plan_for(kernel).loop == loop


def test_equal_kernels_share_a_plan():
    assert plan_for(defocus(3.3)) is plan_for(defocus(3.3).astype(np.float64))
