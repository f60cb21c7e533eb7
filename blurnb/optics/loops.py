"""Compiled loops: rows of 16-bit pixels weighed and added, 32 at a time.

Pixels in [0, 1] become 0..65535 and weights 0..65535; the upper half of their 16-bit product is one instruction
on every processor with vectors, twice as wide as float32 and free of conversions. `weigh` is that loop and all
else feeds it. The sum over a group of taps keeps its own scale, so the error stays under 0.1 of an 8-bit level
(`plans` bounds it). Nothing here depends on where a band of rows begins: results are the same to the bit
for every split into threads.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from blurnb.optics.compilation import compiled

VERSION = 1
LANES = 32
STRIP = 2 * LANES
"""Pixels that one turn of the inner loops makes. A row must have as many: `engines` widens narrower images."""

WHITE, UNIT = np.float32(65535), np.float32(1 / 65535)


class Taps(NamedTuple):
    """Weights on a buffer of rows, in groups. Group g: taps groups[g]..groups[g + 1], their sum times scales[g].

    For `weigh_pair`, a tap has two weights in turn: for the row that is made, and for the one made with it.
    """

    offsets: np.ndarray  # intp, (n,), from the pixel that is made
    weights: np.ndarray  # uint16, (n,) or (2 n,)
    groups: np.ndarray  # intp
    scales: np.ndarray  # float32


# A register of 32 pixels, in portable LLVM vectors.
_SHORTS, _INTS, _FLOATS = (
    ir.VectorType(element, LANES) for element in (ir.IntType(16), ir.IntType(32), ir.FloatType())
)


class Register(types.Type):
    def __init__(self, name: str, vector: ir.VectorType) -> None:
        super().__init__(name)
        self.vector = vector


@register_model(Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager, type_: Register) -> None:
        super().__init__(manager, type_, type_.vector)


SHORTS, FLOATS = Register("Shorts", _SHORTS), Register("Floats", _FLOATS)


def _address(context, builder, array_type, array, index, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _everywhere(builder, value, vector):
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    lanes = ir.Constant(_INTS, [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)


@intrinsic
def no_shorts(typingctx):
    """32 zeros."""
    return SHORTS(), lambda *_: ir.Constant(_SHORTS, [0] * LANES)


@intrinsic
def no_floats(typingctx):
    """32 zeros."""
    return FLOATS(), lambda *_: ir.Constant(_FLOATS, [0.0] * LANES)


@intrinsic
def load(typingctx, source, index):
    """source[index : index + 32]"""

    def code(context, builder, signature, arguments):
        source, index = arguments
        return builder.load(_address(context, builder, signature.args[0], source, index, _SHORTS), align=2)

    return SHORTS(source, types.intp), code


@intrinsic
def average(typingctx, shorts, others):
    """(`shorts` + `others` + 1) >> 1, one instruction too"""

    def code(context, builder, signature, arguments):
        sum_ = builder.add(*(builder.zext(one, _INTS) for one in arguments))
        sum_ = builder.add(sum_, ir.Constant(_INTS, [1] * LANES))
        return builder.trunc(builder.lshr(sum_, ir.Constant(_INTS, [1] * LANES)), _SHORTS)

    return SHORTS(shorts, others), code


@intrinsic
def add_product(typingctx, shorts, pixels, weight):
    """`shorts` + (`pixels` * weight >> 16)"""

    def code(context, builder, signature, arguments):
        shorts, pixels, weight = arguments
        product = builder.mul(builder.zext(pixels, _INTS), builder.zext(_everywhere(builder, weight, _SHORTS), _INTS))
        high = builder.trunc(builder.lshr(product, ir.Constant(_INTS, [16] * LANES)), _SHORTS)
        return builder.add(shorts, high)

    return SHORTS(shorts, pixels, types.uint16), code


@intrinsic
def add_scaled(typingctx, floats, shorts, scale):
    """`floats` + `shorts` * scale"""

    def code(context, builder, signature, arguments):
        floats, shorts, scale = arguments
        value = builder.uitofp(builder.zext(shorts, _INTS), _FLOATS)
        return builder.fadd(floats, builder.fmul(value, _everywhere(builder, scale, _FLOATS)))

    return FLOATS(floats, shorts, types.float32), code


@intrinsic
def store(typingctx, row, index, floats):
    """row[index : index + 32] = `floats`"""

    def code(context, builder, signature, arguments):
        row, index, floats = arguments
        builder.store(floats, _address(context, builder, signature.args[0], row, index, _FLOATS), align=4)
        return context.get_dummy_value()

    return types.none(row, types.intp, floats), code


@compiled
def weigh(row, source, start, taps, unit):
    """row[x] = unit * the sum over taps of weight * source[start + offset + x]; `row` has at least STRIP pixels."""
    for strip in range(0, row.size, STRIP):
        x = min(strip, row.size - STRIP)  # the last strip may overlap the one before
        left, right = no_floats(), no_floats()
        for group in range(taps.scales.size):
            left_sum, right_sum = no_shorts(), no_shorts()
            first, last = taps.groups[group], taps.groups[group + 1]
            offsets, weights = taps.offsets[first:last], taps.weights[first:last]
            for tap in range(offsets.size):
                index = start + offsets[tap] + x
                left_pixels, right_pixels = load(source, index), load(source, index + LANES)
                left_sum = add_product(left_sum, left_pixels, weights[tap])
                right_sum = add_product(right_sum, right_pixels, weights[tap])
            scale = taps.scales[group] * unit
            left, right = add_scaled(left, left_sum, scale), add_scaled(right, right_sum, scale)
        store(row, x, left)
        store(row, x + LANES, right)


@compiled
def weigh_pair(row, other, source, start, taps, mirrors, unit):
    """Two rows at once, so that what both need is loaded once: memory, not arithmetic, is what limits `weigh`.

    With `mirrors`, offsets of their own, a tap weighs the average of the pixels at its offset and at its mirror: half
    the products. None is a type of its own to the compiler, which leaves out what is not wanted.
    """
    for strip in range(0, row.size, STRIP):
        x = min(strip, row.size - STRIP)
        left, right, other_left, other_right = no_floats(), no_floats(), no_floats(), no_floats()
        for group in range(taps.scales.size):
            left_sum, right_sum, other_left_sum, other_right_sum = no_shorts(), no_shorts(), no_shorts(), no_shorts()
            first, last = taps.groups[group], taps.groups[group + 1]
            offsets, weights = taps.offsets[first:last], taps.weights[2 * first : 2 * last]
            for tap in range(offsets.size):
                index = start + offsets[tap] + x
                left_pixels, right_pixels = load(source, index), load(source, index + LANES)
                if mirrors is not None:
                    index = start + mirrors[first + tap] + x
                    left_pixels = average(left_pixels, load(source, index))
                    right_pixels = average(right_pixels, load(source, index + LANES))
                weight, other_weight = weights[2 * tap], weights[2 * tap + 1]
                left_sum = add_product(left_sum, left_pixels, weight)
                right_sum = add_product(right_sum, right_pixels, weight)
                other_left_sum = add_product(other_left_sum, left_pixels, other_weight)
                other_right_sum = add_product(other_right_sum, right_pixels, other_weight)
            scale = taps.scales[group] * unit
            left, right = add_scaled(left, left_sum, scale), add_scaled(right, right_sum, scale)
            other_left = add_scaled(other_left, other_left_sum, scale)
            other_right = add_scaled(other_right, other_right_sum, scale)
        store(row, x, left)
        store(row, x + LANES, right)
        store(other, x, other_left)
        store(other, x + LANES, other_right)


@compiled
def aligned(count):
    """Room for so many 16-bit pixels, from the start of a cache line on: a load across two takes twice as long."""
    room = np.empty(count + LANES, np.uint16)
    start = (-(room.ctypes.data // 2)) % LANES
    return room[start : start + count]


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
            highest = max(highest, bits[x])  # as integers, floats are in order, and negative ones and NaN above 1
        for x in range(half):
            left[x] = middle[columns[x]]
            right[x] = middle[columns[half + width + x]]
    return highest <= np.uint32(0x3F800000)


@compiled
def to_shorts(row, line):
    for x in range(line.size):
        line[x] = np.uint16(np.int32(min(row[x], WHITE) + np.float32(0.5)))


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
def convolve(planes, out, first, last, rows, columns, levels, taps, is_mirrored):
    """Rows first..last of the stacked `planes` (P, H, W), W >= STRIP, into `out`; whether all lay in [0, 1].

    The taps weigh the pixel `levels` rows below and `offsets` to the right, for a row and the one below it; with
    `is_mirrored` the average of that pixel and the one as far to the left.
    """
    height, width = planes.shape[1], planes.shape[2]
    half = (columns.size - width) // 2
    stride = -(-columns.size // LANES) * LANES
    padded = aligned((min(height, last - first) + 2 * half + 1) * stride)
    nowhere = np.empty(width, np.float32)
    mirrors = levels * stride - taps.offsets
    taps = Taps(levels * stride + taps.offsets, taps.weights, taps.groups, taps.scales)
    is_normal = True
    for plane in range(first // height, (last - 1) // height + 1):
        top, bottom = max(first - plane * height, 0), min(last - plane * height, height)
        is_normal &= pad(planes[plane], rows[top : bottom + 2 * half], columns, padded, stride)
        for y in range(top, bottom, 2):
            other = out[plane, y + 1] if y + 1 < bottom else nowhere
            start = (y - top + half) * stride + half
            if is_mirrored:
                weigh_pair(out[plane, y], other, padded, start, taps, mirrors, UNIT)
            else:
                weigh_pair(out[plane, y], other, padded, start, taps, None, UNIT)
    return is_normal


@compiled
def convolve_runs(planes, out, first, last, rows, columns, levels, taps, shares):
    """As `convolve`, but the taps weigh vertical runs of half length `levels`, for one row; see `average_runs`."""
    height, width = planes.shape[1], planes.shape[2]
    half = (columns.size - width) // 2
    stride = -(-columns.size // LANES) * LANES
    padded = aligned((min(height, last - first) + 2 * half) * stride)
    runs = aligned(shares.size * stride)
    total = np.empty(stride, np.uint32)
    taps = Taps(levels * stride + taps.offsets, taps.weights, taps.groups, taps.scales)
    is_normal = True
    for plane in range(first // height, (last - 1) // height + 1):
        top, bottom = max(first - plane * height, 0), min(last - plane * height, height)
        is_normal &= pad(planes[plane], rows[top : bottom + 2 * half], columns, padded, stride)
        for y in range(top, bottom):
            average_runs(padded, (y - top + half) * stride, stride, shares, total, runs)
            weigh(out[plane, y], runs, half, taps, UNIT)
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
    padded = aligned((count + step * (below - above + 3) + 2 * tallest) * stride)
    coarse = aligned((count // step + below - above + 4) * stride)
    line, row = np.empty(stride, np.uint16), np.empty(width, np.float32)
    pair = np.empty((2, columns.size), np.float32)
    down = Taps(down.offsets * stride, down.weights, down.groups, down.scales)
    between = up.offsets * stride
    one = np.float32(1)
    is_normal = True
    for plane in range(first // height, (last - 1) // height + 1):
        top, bottom = max(first - plane * height, 0), min(last - plane * height, height)
        start, stop = top // step + above, (bottom - 1) // step + below + 1
        highest = start * step - tallest
        wanted = rows[reach + highest : reach + (stop - 1) * step + tallest + 1]
        is_normal &= pad(planes[plane], wanted, columns, padded, stride)
        for m in range(start, stop, 2):
            weigh_pair(pair[0], pair[1], padded, (m * step - highest) * stride, down, None, one)
            for i in range(min(2, stop - m)):
                to_shorts(pair[i], line[: columns.size])
                if step == 1:
                    weigh(out[plane, m + i], line, half, across, UNIT)
                else:
                    weigh(row, line, half, across, one)
                    place = (m + i - start) * stride
                    to_shorts(row, coarse[place : place + width])
        if step > 1:
            for y in range(top, bottom):
                phase = y % step
                taps = Taps(between[phase], up.weights[phase], up.groups[phase], up.scales[phase])
                weigh(out[plane, y], coarse, (y // step - start) * stride, taps, UNIT)
    return is_normal
