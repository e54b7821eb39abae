"""Shading pixel by pixel: albedo, normal and the light on head and body in, sRGB picture out. One source for CPU and
CUDA; the reference of the pass over texels."""

from __future__ import annotations

import warp as wp

from narrate_stream.kernels.light import (
    PartLight,
    Vector9,
    bent,
    decoded,
    highlight,
    mirrored,
    own_change,
    shade,
    sky_seen,
)

BYTE = wp.constant(1.0 / 255.0)


@wp.struct
class Pixels:
    """N pixels. covered: 0 or 1; base (N, 3) sRGB of albedo, own (N, 3) the portrait's; surface and material (N, 4) as
    in the atlas; opened (N, 4): what the horizon leaves of the sky, by colour and of an even one; seen (N, 2 K): of
    each lamp, the head's first; bend (N,): how the expression has turned the surface of the head; crease (N,):
    `creases.Field.tilt`, its tilt, and kept_off (N,) its rest; learned (N,): shading that F_R adds, or none (0,)."""

    covered: wp.array(dtype=wp.uint8)
    base: wp.array2d(dtype=wp.uint8)
    own: wp.array2d(dtype=wp.uint8)
    surface: wp.array2d(dtype=wp.uint8)
    material: wp.array2d(dtype=wp.uint8)
    opened: wp.array(dtype=wp.vec4)
    seen: wp.array2d(dtype=float)
    bend: wp.array(dtype=wp.vec3)
    crease: wp.array(dtype=wp.vec3)
    kept_off: wp.array(dtype=wp.vec3)
    learned: wp.array(dtype=wp.vec3)


@wp.struct
class Tone:
    """Linear value of every sRGB byte (256,); bytes of square roots of linear values (4096,); the knee and its roll."""

    linear: wp.array(dtype=float)
    encode: wp.array(dtype=wp.uint8)
    knee: float
    roll: float


@wp.struct
class OwnLight:
    """The portrait's own light: radiance times Lambert's cosine, how head and body are turned in its room, its gain,
    its share of all light."""

    sky: Vector9
    head: wp.mat33
    body: wp.mat33
    gain: wp.vec3
    share: float


@wp.struct
class Skin:
    """One pixel's material: normal as bent, tangent of hair, shares of the lobes and of what all of them may
    reflect."""

    normal: wp.vec3
    tangent: wp.vec3
    lobes: wp.vec3
    gloss: float


@wp.func
def skin_at(pixels: Pixels, i: int, normal: wp.vec3) -> Skin:
    """The material of pixel i."""
    skin = Skin()
    skin.normal = normal
    skin.tangent = decoded(float(pixels.material[i, 0]) * BYTE, float(pixels.material[i, 1]) * BYTE)
    skin.gloss = float(pixels.surface[i, 3]) * BYTE
    oil = float(pixels.material[i, 2]) * BYTE
    hair = float(pixels.material[i, 3]) * BYTE
    skin.lobes = wp.vec3((1.0 - oil) * (1.0 - hair), oil * (1.0 - hair), hair) * skin.gloss
    return skin


@wp.func
def lit(pixels: Pixels, i: int, albedo: wp.vec3, skin: Skin, part: PartLight, start: int, bounce: wp.vec3) -> wp.vec3:
    """Linear colour by the light of one part, whose lamps are `start` and on in `seen`."""
    left = pixels.opened[i]
    light = bounce + wp.cw_mul(sky_seen(part.sky, skin.normal), wp.vec3(left[0], left[1], left[2]))
    viewer = wp.vec3(part.rotation[2, 0], part.rotation[2, 1], part.rotation[2, 2])
    shine = wp.vec3(0.0, 0.0, 0.0)
    for k in range(part.count):
        lamp = part.lamps[k]
        seen = pixels.seen[i, start + k]
        light += shade(lamp, skin.normal) * seen
        shine += lamp.colour * (seen * highlight(lamp, skin.normal, skin.tangent, viewer, skin.lobes))
    if pixels.learned.shape[0] > 0:
        light = wp.max(light + pixels.learned[i], wp.vec3(0.0, 0.0, 0.0))
    if part.mirrors > 0:
        shine += mirrored(part.mirror, part.rotation * skin.normal) * (skin.gloss * left[3])
    return wp.cw_mul(albedo, light) + shine


@wp.func
def linear_of(tone: Tone, picture: wp.array2d(dtype=wp.uint8), i: int) -> wp.vec3:
    """Linear colour of a pixel."""
    return wp.vec3(tone.linear[int(picture[i, 0])], tone.linear[int(picture[i, 1])], tone.linear[int(picture[i, 2])])


@wp.func
def to_byte(tone: Tone, value: float) -> wp.uint8:
    """sRGB byte of a linear value; highlights roll off above the knee instead of clipping."""
    v = value
    if v > tone.knee:
        v = tone.knee + (v - tone.knee) / (1.0 + tone.roll * (v - tone.knee))
    return tone.encode[int(wp.sqrt(wp.clamp(v, 0.0, 1.0)) * 4095.0 + 0.5)]


@wp.kernel
def shade_pass(
    pixels: Pixels,
    head: PartLight,
    body: PartLight,
    bounce: wp.vec3,
    own: OwnLight,
    tone: Tone,
    out: wp.array2d(dtype=wp.uint8),
):
    """Per covered pixel: out = encode(albedo * (sky * opened + lamps * seen + bounce) + highlights), mixed with the
    portrait's own light as far as that has a share."""
    i = wp.tid()
    if pixels.covered[i] == wp.uint8(0):
        return
    at_rest = decoded(float(pixels.surface[i, 0]) * BYTE, float(pixels.surface[i, 1]) * BYTE)
    face = skin_at(pixels, i, wp.normalize(bent(at_rest, pixels.bend[i]) + pixels.crease[i]))
    still = skin_at(pixels, i, at_rest)
    weight = float(pixels.surface[i, 2]) * BYTE
    colour = wp.vec3(0.0, 0.0, 0.0)
    if own.share < 1.0:
        albedo = linear_of(tone, pixels.base, i)
        colour = lit(pixels, i, albedo, face, head, 0, bounce) * weight
        colour += lit(pixels, i, albedo, still, body, head.count, bounce) * (1.0 - weight)
    if own.share > 0.0:
        change = own_change(own.sky, own.head, at_rest, face.normal) * weight
        change += own_change(own.sky, own.body, at_rest, at_rest) * (1.0 - weight)
        given = wp.cw_mul(linear_of(tone, pixels.own, i), own.gain) * change
        colour = colour * (1.0 - own.share) + given * own.share
    colour = wp.cw_mul(colour, wp.vec3(1.0, 1.0, 1.0) - pixels.kept_off[i])
    for c in range(3):
        out[i, c] = to_byte(tone, colour[c])
