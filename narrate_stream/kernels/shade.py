"""Shading: albedo, normal and two small tables in, sRGB picture out. One source for CPU and CUDA.

The tables hold diffuse shading and highlight for every model-space normal (equal-area), one for what turns with the
head and one for what stays with the body; the cost does not depend on the kind of light.
"""

from __future__ import annotations

import warp as wp


@wp.func
def look_up(table: wp.array2d(dtype=wp.vec3), x: float, y: float) -> wp.vec3:
    """Bilinear table entry at x, y in 0..1."""
    last = float(table.shape[0] - 1)
    fx = wp.clamp(x * last, 0.0, last - 0.001)
    fy = wp.clamp(y * last, 0.0, last - 0.001)
    ix = int(fx)
    iy = int(fy)
    ax = fx - float(ix)
    ay = fy - float(iy)
    top = table[iy, ix] * (1.0 - ax) + table[iy, ix + 1] * ax
    bottom = table[iy + 1, ix] * (1.0 - ax) + table[iy + 1, ix + 1] * ax
    return top * (1.0 - ay) + bottom * ay


@wp.func
def to_byte(value: float, knee: float, roll: float, encode: wp.array(dtype=wp.uint8)) -> wp.uint8:
    """sRGB byte of a linear value, rolled off above `knee`."""
    v = value
    if v > knee:  # highlights roll off instead of clipping
        v = knee + (v - knee) / (1.0 + roll * (v - knee))
    v = wp.clamp(v, 0.0, 1.0)
    return encode[int(wp.sqrt(v) * 4095.0 + 0.5)]


@wp.kernel
def shade_pass(
    covered: wp.array(dtype=wp.uint8),
    base: wp.array2d(dtype=wp.uint8),
    surface: wp.array2d(dtype=wp.uint8),
    shadow: wp.array2d(dtype=wp.uint8),
    linear: wp.array(dtype=float),
    encode: wp.array(dtype=wp.uint8),
    head: wp.array2d(dtype=wp.vec3),
    body: wp.array2d(dtype=wp.vec3),
    head_shine: wp.array2d(dtype=wp.vec3),
    body_shine: wp.array2d(dtype=wp.vec3),
    shines: int,
    shadows: int,
    bounce: wp.vec3,
    knee: float,
    roll: float,
    out: wp.array2d(dtype=wp.uint8),
):
    """Per pixel i: out = encode(albedo * (shading * shadow + bounce) + gloss * highlight * shadow); untouched where not
    covered."""
    i = wp.tid()
    if covered[i] == wp.uint8(0):
        return
    x = float(surface[i, 0]) * (1.0 / 255.0)
    y = float(surface[i, 1]) * (1.0 / 255.0)
    w = float(surface[i, 2]) * (1.0 / 255.0)
    light = wp.vec3(0.0, 0.0, 0.0)
    shine = wp.vec3(0.0, 0.0, 0.0)
    if w > 0.004:
        light += look_up(head, x, y) * w
        if shines != 0:
            shine += look_up(head_shine, x, y) * w
    if w < 0.996:
        light += look_up(body, x, y) * (1.0 - w)
        if shines != 0:
            shine += look_up(body_shine, x, y) * (1.0 - w)
    shine = shine * (float(surface[i, 3]) * (1.0 / 255.0))
    if shadows != 0:
        s = wp.vec3(float(shadow[i, 0]), float(shadow[i, 1]), float(shadow[i, 2])) * (1.0 / 255.0)
        light = wp.cw_mul(light, s)
        shine = wp.cw_mul(shine, s)
    light += bounce
    out[i, 0] = to_byte(linear[int(base[i, 0])] * light[0] + shine[0], knee, roll, encode)
    out[i, 1] = to_byte(linear[int(base[i, 1])] * light[1] + shine[1], knee, roll, encode)
    out[i, 2] = to_byte(linear[int(base[i, 2])] * light[2] + shine[2], knee, roll, encode)
