"""Both steps of Krishnan & Fergus are exact."""

import numpy as np
import pytest
import scipy.optimize
import torch

from blurnb.optics import borders, hyper_laplacian


@pytest.mark.parametrize("beta", [1.0, 8.0, 181.0])
def test_shrink_is_the_minimum(beta):
    alpha = hyper_laplacian.ALPHA
    values = torch.linspace(-2, 2, 41)
    grid = np.linspace(-2.2, 2.2, 440001)
    for v, w in zip(values.tolist(), hyper_laplacian.shrink(values, beta).tolist()):
        cost = np.abs(grid) ** alpha + beta / 2 * (grid - v) ** 2
        assert abs(w) ** alpha + beta / 2 * (w - v) ** 2 <= cost.min() + 1e-6


def test_image_step_is_the_direct_minimum():
    generator = torch.Generator().manual_seed(0)
    blurred = torch.rand(1, 1, 8, 7, generator=generator, dtype=torch.float64)
    auxiliary = torch.randn(2, 1, 1, 8, 7, generator=generator, dtype=torch.float64)
    kernel = torch.rand(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    transfer = borders.transfer_function(kernel / kernel.sum(), (8, 7))
    strength = 0.3

    def cost(flat):
        x = torch.tensor(flat.reshape(1, 1, 8, 7), requires_grad=True)
        misfit = torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=(8, 7)) - blurred
        value = (misfit**2).sum() / 2 + strength / 2 * ((hyper_laplacian.gradients(x) - auxiliary) ** 2).sum()
        value.backward()
        return value.item(), x.grad.numpy().ravel()

    direct = scipy.optimize.minimize(cost, np.zeros(56), jac=True, method="BFGS", options={"gtol": 1e-10}).x
    ours = hyper_laplacian.image_step(
        auxiliary,
        torch.fft.rfft2(blurred) * transfer.conj(),
        transfer.abs().square(),
        hyper_laplacian.gradient_power(8, 7, blurred),
        strength,
    )
    np.testing.assert_allclose(ours.numpy().ravel(), direct, atol=1e-7)
