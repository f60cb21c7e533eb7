"""What each deblurring method gains and what it costs: PSNR and seconds, by blur and noise.

    python benchmarks/deblurring.py --images 8 --side 512 --threads 2

With BLURNB_DATA set, the photographs are the first ones in sorted order of $BLURNB_DATA/imagenet/val, spread over the
folders but never among the last 50, on which the default weights were tuned; without it, four photographs that
scikit-image ships. Both are brought to a shorter side of 512 and cut to their centre. `--scene cropped` blurs a larger
scene and then cuts, as a camera does; `--scene reflect` blurs the cut with a reflected border, as the study does.
Noise 0 means rounded to 8 bits, nothing else added.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from blurnb.optics.blurring import blur, kernel_for
from blurnb.optics.borders import BORDERS
from blurnb.optics.deblurring import deblur, psnr
from blurnb.optics.resampling import rounded

MARGIN = 40
TUNED_ON = 50
"""The last photographs in sorted order, kept for tuning weights."""


def photographs(count: int, side: int) -> torch.Tensor:
    """(count, 3, side + 2 MARGIN, side + 2 MARGIN) in [0, 1], from a frame whose shorter side is that too at least."""
    if root := os.environ.get("BLURNB_DATA"):
        files = sorted(Path(root).glob("imagenet/val/*/*.JPEG"))[:-TUNED_ON]
        opened = [Image.open(files[i]) for i in np.linspace(0, len(files) - 1, count).astype(int)]
    else:
        import skimage.data

        names = ("astronaut", "coffee", "chelsea", "rocket")[:count]
        opened = [Image.fromarray(getattr(skimage.data, name)()) for name in names]
    needed = side + 2 * MARGIN
    return torch.stack([_centre(image.convert("RGB"), needed) for image in opened])


def _centre(image: Image.Image, side: int) -> torch.Tensor:
    scale = max(512, side) / min(image.size)
    image = image.resize([max(side, round(length * scale)) for length in image.size], Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    pixels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=4)
    arguments.add_argument("--side", type=int, default=512)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--methods", nargs="+", default=["wiener", "richardson_lucy", "tv", "krishnan_fergus"])
    arguments.add_argument("--blurs", nargs="+", default=["D4", "D8", "M21@30", "shake24"])
    arguments.add_argument("--noise", nargs="+", type=float, default=[0.0, 0.01])
    arguments.add_argument("--border", default=BORDERS[0], choices=BORDERS)
    arguments.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: processor time / threads")
    arguments.add_argument("--scene", default="reflect", choices=["reflect", "cropped"])
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    clock = time.perf_counter if asked.clock == "wall" else lambda: time.process_time() / asked.threads

    scenes = photographs(asked.images, asked.side)
    inside = slice(MARGIN, MARGIN + asked.side)
    sharp = scenes[..., inside, inside].contiguous()
    print(f"n = {len(sharp)} photographs of {asked.side} x {asked.side}, {asked.threads} threads, one image at a time")
    print(
        f"border {asked.border}, scene {asked.scene}; gain in dB: mean (standard error); seconds: median over images,"
    )
    print("and the fastest, which a busy machine distorts less\n")
    print("| method | blur | noise | blurred, dB | gain, dB | seconds per image | fastest |")
    print("|---|---|---|---|---|---|---|")
    # The first call loads deepinv; that is no part of the cost of an image.
    deblur(sharp[0, :, :64, :64], kernel_for("D2"), "wiener")
    for method in asked.methods:
        for label in asked.blurs:
            kernel = kernel_for(label, seed=3)
            for noise_sd in asked.noise:
                if asked.scene == "cropped":
                    blurred = blur(scenes, kernel)[..., inside, inside].contiguous()
                else:
                    blurred = blur(sharp, kernel)
                if noise_sd > 0:
                    noise = np.random.default_rng(0).normal(0, noise_sd, blurred.shape)
                    blurred = blurred + torch.from_numpy(noise.astype(np.float32))
                else:
                    blurred = rounded(blurred)
                restored, seconds = [], []
                for image in blurred:
                    start = clock()
                    restored.append(deblur(image, kernel, method, noise_sd, border=asked.border))
                    seconds.append(clock() - start)
                before = psnr(blurred, sharp)
                gain = psnr(torch.stack(restored), sharp) - before
                error = gain.std().item() / len(gain) ** 0.5 if len(gain) > 1 else float("nan")
                print(
                    f"| {method} | {label} | {noise_sd:g} | {before.mean():.2f} | {gain.mean():+.2f} ({error:.2f}) "
                    f"| {statistics.median(seconds):.2f} | {min(seconds):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
