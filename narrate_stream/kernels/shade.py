"""Shading: albedo, normal and two small tables in, sRGB picture out. One source for CPU and CUDA.

The tables hold, for every normal in the frame of a part (head, body; equal-area), shading by the sky and by each lamp,
and the lobes of each lamp's highlight; see `narrate_stream.shading`.
"""

from __future__ import annotations

import warp as wp


@wp.func
def look_up(tables: wp.array3d(dtype=wp.vec3), k: int, x: float, y: float) -> wp.vec3:
    """Bilinear entry of table k at x, y in 0..1."""
    last = float(tables.shape[1] - 1)
    fx = wp.clamp(x * last, 0.0, last - 0.001)
    fy = wp.clamp(y * last, 0.0, last - 0.001)
    ix = int(fx)
    iy = int(fy)
    ax = fx - float(ix)
    ay = fy - float(iy)
    top = tables[k, iy, ix] * (1.0 - ax) + tables[k, iy, ix + 1] * ax
    bottom = tables[k, iy + 1, ix] * (1.0 - ax) + tables[k, iy + 1, ix + 1] * ax
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
    material: wp.array2d(dtype=wp.uint8),
    ambient: wp.array3d(dtype=wp.vec3),
    sheen: wp.array3d(dtype=wp.vec3),
    lamps: wp.array3d(dtype=wp.vec3),
    lobes: wp.array3d(dtype=wp.vec3),
    colours: wp.array(dtype=wp.vec3),
    opened: wp.array2d(dtype=float),
    shadows: wp.array2d(dtype=float),
    count: int,
    added: wp.array(dtype=wp.vec3),
    linear: wp.array(dtype=float),
    encode: wp.array(dtype=wp.uint8),
    knee: float,
    roll: float,
    out: wp.array2d(dtype=wp.uint8),
):
    """Per pixel i: out = encode(albedo * (sky * opened + lamps * shadows + added) + highlights); untouched where not
    covered. Part 0 is the head, part 1 the body, each with `count` lamps."""
    i = wp.tid()
    if covered[i] == wp.uint8(0):
        return
    x = float(surface[i, 0]) * (1.0 / 255.0)
    y = float(surface[i, 1]) * (1.0 / 255.0)
    tx = float(material[i, 0]) * (1.0 / 255.0)
    ty = float(material[i, 1]) * (1.0 / 255.0)
    gloss = float(surface[i, 3]) * (1.0 / 255.0)
    oil = float(material[i, 2]) * (1.0 / 255.0)
    hair = float(material[i, 3]) * (1.0 / 255.0)
    left = wp.vec3(opened[i, 0], opened[i, 1], opened[i, 2])
    light = wp.vec3(0.0, 0.0, 0.0)
    shine = wp.vec3(0.0, 0.0, 0.0)
    for part in range(2):
        weight = float(surface[i, 2]) * (1.0 / 255.0)
        if part == 1:
            weight = 1.0 - weight
        if weight > 0.004:
            light += wp.cw_mul(look_up(ambient, part, x, y), left) * weight
            shine += look_up(sheen, part, x, y) * (weight * opened[i, 3])
            for n in range(count):
                k = part * count + n
                seen = shadows[i, k] * weight
                if seen > 0.0:
                    light += look_up(lamps, k, x, y) * seen
                    skin = look_up(lobes, k, x, y)
                    strands = look_up(lobes, k, tx, ty)
                    lobe = (skin[0] * (1.0 - oil) + skin[1] * oil) * (1.0 - hair) + strands[2] * hair
                    shine += colours[k] * (lobe * seen)
    light += added[wp.min(i, added.shape[0] - 1)]
    light = wp.vec3(wp.max(light[0], 0.0), wp.max(light[1], 0.0), wp.max(light[2], 0.0))
    shine = shine * gloss
    out[i, 0] = to_byte(linear[int(base[i, 0])] * light[0] + shine[0], knee, roll, encode)
    out[i, 1] = to_byte(linear[int(base[i, 1])] * light[1] + shine[1], knee, roll, encode)
    out[i, 2] = to_byte(linear[int(base[i, 2])] * light[2] + shine[2], knee, roll, encode)
