"""Compiled loops: rows of 16-bit pixels weighed and added, 32 at a time.

Pixels in [0, 1] become 0..65535 and weights 0..65535; the upper half of their 16-bit product is one instruction
on every processor with vectors, twice as wide as float32 and free of conversions. `weigh` is that loop and all
else feeds it. The sum over a group of taps keeps its own scale, so the error stays under 0.1 of an 8-bit level
(`engines._taps` bounds it). Nothing here depends on where a band of rows begins: results are the same to the bit
for every split into threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

LANES = 32
STRIP = 2 * LANES
"""Pixels that one turn of the innermost loop makes; buffers end with as much slack."""

WHITE = np.float32(65535)


class Taps(NamedTuple):
    """Weights on a buffer of rows, in groups. Group g: taps groups[g]..groups[g + 1], their sum times scales[g].

    For `weigh_pair`, a tap has two weights: for the row that is made, and for the one made with it.
    """

    offsets: np.ndarray  # intp, from the pixel that is made
    weights: np.ndarray  # uint16, (n,) or (n, 2)
    groups: np.ndarray  # intp
    scales: np.ndarray  # float32


def compiled(function):
    """`function` compiled at its first call, outside the GIL, and kept on disk where a disk can be written."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder for its cache: compile once a process instead
        return njit(nogil=True, error_model="numpy")(function)


# ------------------------------------------------------- a register of 32 pixels, in portable LLVM vectors


class Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__("Lanes")


_SHORTS, _INTS, _FLOATS = (
    ir.VectorType(element, LANES) for element in (ir.IntType(16), ir.IntType(32), ir.FloatType())
)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, type_) -> None:
        super().__init__(manager, type_, _SHORTS)


def _address(context, builder, array_type, array, index, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _everywhere(builder, value, vector):
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    lanes = ir.Constant(_INTS, [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)


@intrinsic
def dark(typingctx):
    """Lanes of zeros."""
    return Lanes()(), lambda *_: ir.Constant(_SHORTS, [0] * LANES)


@intrinsic
def add_product(typingctx, lanes, source, index, weight):
    """`lanes` + (source[index : index + 32] * weight >> 16)"""

    def code(context, builder, signature, arguments):
        lanes, source, index, weight = arguments
        address = _address(context, builder, signature.args[1], source, index, _SHORTS)
        pixels = builder.zext(builder.load(address, align=2), _INTS)
        product = builder.mul(pixels, builder.zext(_everywhere(builder, weight, _SHORTS), _INTS))
        high = builder.trunc(builder.lshr(product, ir.Constant(_INTS, [16] * LANES)), _SHORTS)
        return builder.add(lanes, high)

    return Lanes()(lanes, source, types.intp, types.uint16), code


@intrinsic
def add_to(typingctx, row, index, lanes, scale, is_first):
    """row[index : index + 32] = scale * `lanes`, added to what is there unless `is_first`."""

    def code(context, builder, signature, arguments):
        row, index, lanes, scale, is_first = arguments
        address = _address(context, builder, signature.args[0], row, index, _FLOATS)
        value = builder.uitofp(builder.zext(lanes, _INTS), _FLOATS)
        value = builder.fmul(value, _everywhere(builder, scale, _FLOATS))
        there = builder.load(address, align=4)
        there = builder.select(is_first, ir.Constant(_FLOATS, [0.0] * LANES), there)
        builder.store(builder.fadd(there, value), address, align=4)
        return context.get_dummy_value()

    return types.none(row, types.intp, lanes, types.float32, types.boolean), code


# ---------------------------------------------------------------------------------------------- the loops


@compiled
def weigh(row, width, source, start, taps):
    """row[x] = sum over taps of weight * source[start + offset + x], in units of 65535."""
    for group in range(taps.scales.size):
        first, last, scale = taps.groups[group], taps.groups[group + 1], taps.scales[group]
        for x in range(0, width, STRIP):
            left, right = dark(), dark()
            for tap in range(first, last):
                index = start + taps.offsets[tap] + x
                left = add_product(left, source, index, taps.weights[tap])
                right = add_product(right, source, index + LANES, taps.weights[tap])
            add_to(row, x, left, scale, group == 0)
            add_to(row, x + LANES, right, scale, group == 0)


@compiled
def weigh_pair(row, other, width, source, start, taps):
    """Two rows at once, so that what both need is loaded once: memory, not arithmetic, is what limits `weigh`."""
    for group in range(taps.scales.size):
        first, last, scale = taps.groups[group], taps.groups[group + 1], taps.scales[group]
        for x in range(0, width, STRIP):
            left, right, other_left, other_right = dark(), dark(), dark(), dark()
            for tap in range(first, last):
                index = start + taps.offsets[tap] + x
                weight, other_weight = taps.weights[tap, 0], taps.weights[tap, 1]
                left = add_product(left, source, index, weight)
                right = add_product(right, source, index + LANES, weight)
                other_left = add_product(other_left, source, index, other_weight)
                other_right = add_product(other_right, source, index + LANES, other_weight)
            add_to(row, x, left, scale, group == 0)
            add_to(row, x + LANES, right, scale, group == 0)
            add_to(other, x, other_left, scale, group == 0)
            add_to(other, x + LANES, other_right, scale, group == 0)


@compiled
def pad(plane, rows, columns, padded, stride):
    """`plane` as 16-bit pixels, extended by the maps `rows` and `columns`; whether all lay in [0, 1]."""
    width = plane.shape[1]
    half = (columns.size - width) // 2
    highest = np.uint32(0)
    for i in range(rows.size):
        line = padded[i * stride : (i + 1) * stride]
        left, middle, right = line[:half], line[half : half + width], line[half + width :]
        source = plane[rows[i]]
        bits = source.view(np.uint32)
        for x in range(width):
            middle[x] = np.uint16(np.int32(source[x] * WHITE + np.float32(0.5)))
        for x in range(width):  # as integers, floats are in order, and negative ones and NaN above 1
            highest = max(highest, bits[x])
        for x in range(half):
            left[x] = middle[columns[x]]
            right[x] = middle[columns[half + width + x]]
    return highest <= np.uint32(0x3F800000)


@compiled
def to_shorts(row, line):
    for x in range(line.size):
        line[x] = np.uint16(np.int32(min(row[x], WHITE) + np.float32(0.5)))


@compiled
def to_floats(row, out):
    for x in range(out.size):
        out[x] = row[x] * np.float32(1 / 65535)


@compiled
def average_runs(padded, start, stride, shares, total, runs):
    """Row k of `runs`: the 2 k + 1 pixels about each pixel in its column, summed, times shares[k], >> 16."""
    middle, first = padded[start : start + stride], runs[:stride]
    for x in range(stride):
        total[x] = np.uint32(middle[x])
        first[x] = middle[x]
    for k in range(1, shares.size):
        above = padded[start - k * stride : start - (k - 1) * stride]
        below = padded[start + k * stride : start + (k + 1) * stride]
        run, share = runs[k * stride : (k + 1) * stride], shares[k]
        for x in range(stride):
            sum_ = np.uint32(total[x] + np.uint32(above[x]) + np.uint32(below[x]))
            total[x] = sum_
            run[x] = np.uint16(np.uint32(sum_ * share) >> np.uint32(16))


@compiled
def convolve(planes, out, first, last, rows, columns, levels, taps):
    """Rows first..last of the stacked `planes` (P, H, W) into `out`; whether all pixels lay in [0, 1].

    The taps weigh the pixel `levels` rows below and `offsets` to the right, for a row and the one below it.
    """
    height, width = planes.shape[1], planes.shape[2]
    half = (columns.size - width) // 2
    stride = -(-columns.size // LANES) * LANES
    padded = np.empty((min(height, last - first) + 2 * half + 1) * stride + STRIP, np.uint16)
    row, other = np.empty(stride + STRIP, np.float32), np.empty(stride + STRIP, np.float32)
    taps = Taps(levels * stride + taps.offsets, taps.weights, taps.groups, taps.scales)
    is_normal = True
    for plane in range(first // height, (last - 1) // height + 1):
        top, bottom = max(first - plane * height, 0), min(last - plane * height, height)
        is_normal &= pad(planes[plane], rows[top : bottom + 2 * half], columns, padded, stride)
        for y in range(top, bottom, 2):
            weigh_pair(row, other, width, padded, (y - top + half) * stride + half, taps)
            to_floats(row, out[plane, y])
            if y + 1 < bottom:
                to_floats(other, out[plane, y + 1])
    return is_normal


@compiled
def convolve_runs(planes, out, first, last, rows, columns, levels, taps, shares):
    """As `convolve`, but the taps weigh vertical runs of half length `levels`, for one row; see `average_runs`."""
    height, width = planes.shape[1], planes.shape[2]
    half = (columns.size - width) // 2
    stride = -(-columns.size // LANES) * LANES
    padded = np.empty((min(height, last - first) + 2 * half) * stride, np.uint16)
    runs = np.empty(shares.size * stride + STRIP, np.uint16)
    total, row = np.empty(stride, np.uint32), np.empty(stride + STRIP, np.float32)
    taps = Taps(levels * stride + taps.offsets, taps.weights, taps.groups, taps.scales)
    is_normal = True
    for plane in range(first // height, (last - 1) // height + 1):
        top, bottom = max(first - plane * height, 0), min(last - plane * height, height)
        is_normal &= pad(planes[plane], rows[top : bottom + 2 * half], columns, padded, stride)
        for y in range(top, bottom):
            average_runs(padded, (y - top + half) * stride, stride, shares, total, runs)
            weigh(row, width, runs, half, taps)
            to_floats(row, out[plane, y])
    return is_normal


@compiled
def convolve_separably(planes, out, first, last, rows, columns, step, down, across, up):
    """As `convolve`, down the columns at every `step`-th row, across these, and `up` between them.

    `up` holds a set of taps for each of the `step` rows that follow a coarse one, as rows of its arrays; their
    offsets count coarse rows. The offsets of `down`, for two coarse rows, count rows; those of `across` pixels.
    """
    height, width = planes.shape[1], planes.shape[2]
    half, reach = (columns.size - width) // 2, (rows.size - height) // 2
    above, below = up.offsets.min(), up.offsets.max()
    tallest = -down.offsets.min()
    stride = -(-columns.size // LANES) * LANES
    count = min(height, last - first)
    padded = np.empty((count + step * (below - above + 3) + 2 * tallest) * stride + STRIP, np.uint16)
    coarse = np.empty((count // step + below - above + 4) * stride + STRIP, np.uint16)
    line, row = np.empty(stride + STRIP, np.uint16), np.empty(stride + STRIP, np.float32)
    pair = np.empty((2, stride + STRIP), np.float32)
    down = Taps(down.offsets * stride, down.weights, down.groups, down.scales)
    is_normal = True
    for plane in range(first // height, (last - 1) // height + 1):
        top, bottom = max(first - plane * height, 0), min(last - plane * height, height)
        start, stop = top // step + above, (bottom - 1) // step + below + 1
        highest = start * step - tallest
        wanted = rows[reach + highest : reach + (stop - 1) * step + tallest + 1]
        is_normal &= pad(planes[plane], wanted, columns, padded, stride)
        for m in range(start, stop, 2):
            weigh_pair(pair[0], pair[1], columns.size, padded, (m * step - highest) * stride, down)
            for i in range(min(2, stop - m)):
                to_shorts(pair[i], line[: columns.size])
                weigh(row, width, line, half, across)
                if step == 1:
                    to_floats(row, out[plane, m + i])
                else:
                    place = (m + i - start) * stride
                    to_shorts(row, coarse[place : place + width])
        if step > 1:
            for y in range(top, bottom):
                phase = y % step
                taps = Taps(up.offsets[phase] * stride, up.weights[phase], up.groups[phase], up.scales[phase])
                weigh(row, width, coarse, (y // step - start) * stride, taps)
                to_floats(row, out[plane, y])
    return is_normal
