"""Light on a point of the person, in the frame of its part (head or body): what the shading kernels share. One source
for CPU and CUDA.

The same in plain numpy is `ops.lighting` (shading), `ops.gloss` (highlights) and `ops.horizon` (shadows); what is only
squared, divided and compared costs less here than a look into a table of it.
"""

from __future__ import annotations

from typing import Any

import warp as wp

from narrate_stream.ops import gloss, lighting, ownlight

Vector9 = wp.types.vector(length=9, dtype=float)  # by spherical harmonic
Colours9 = wp.types.matrix(shape=(3, 9), dtype=float)  # RGB of each
STRANDS = wp.constant(float(gloss.F0 * (wp.PI / 8.0) ** 0.5))
TILT = wp.constant(float(gloss.TILT))
DARKEST_SKY = wp.constant(0.02)  # shading by the open sky below which what is left of it is not told any more
REACH = wp.constant(float(lighting.EXTENT))
OWN_DARKEST = wp.constant(float(ownlight.DARKEST))
OWN_LOWEST = wp.constant(float(ownlight.RANGE[0]))
OWN_HIGHEST = wp.constant(float(ownlight.RANGE[1]))


@wp.struct
class Lamp:
    """One lamp as a part of the person receives it. toward, half: unit vectors; wrap (RGB): how far its light goes
    round; broad, sharp, width: of its highlights (`ops.gloss`), fresnel and facing their strength; how far it has risen
    over horizons a and b, bytes of planes first and second, is above + a * step_a + b * step_b."""

    toward: wp.vec3
    half: wp.vec3
    colour: wp.vec3
    wrap: wp.vec3
    broad: float
    sharp: float
    width: float
    fresnel: float
    facing: float
    first: int
    second: int
    step_a: float
    step_b: float
    above: float


LAMP: Any = Lamp.numpy_dtype()  # type: ignore[attr-defined]  # asked once: Warp takes its time over it


@wp.struct
class PartLight:
    """All light on one part. sky: radiance times Lambert's cosine; whole: radiance of sky and lamps, which a learned
    residual is multiplied with; lamps (count,); mirror: what skin reflects of an environment, by normal as the camera
    sees it, where `mirrors` is not 0; rotation: camera_from_part."""

    sky: Colours9
    whole: Colours9
    lamps: wp.array(dtype=Lamp)
    count: int
    mirror: wp.array2d(dtype=wp.vec3)
    mirrors: int
    rotation: wp.mat33


@wp.func
def eased(risen: float) -> wp.float32:
    """`ops.horizon.smooth`."""
    t = wp.clamp(risen, 0.0, 1.0)
    return t * (0.4 + t * (1.8 - 1.2 * t))


@wp.func
def soft_cosine(cosine: float, wrap: float) -> wp.float32:
    """`ops.lighting.soft_cosine`."""
    if cosine >= wrap:
        return cosine
    over = wp.max(cosine + wrap, 0.0)
    return over * over / (4.0 * wrap)


@wp.func
def shade(lamp: Lamp, n: wp.vec3) -> wp.vec3:
    """`ops.lighting.shade_lamp`."""
    c = wp.dot(n, lamp.toward)
    return wp.cw_mul(
        lamp.colour,
        wp.vec3(soft_cosine(c, lamp.wrap[0]), soft_cosine(c, lamp.wrap[1]), soft_cosine(c, lamp.wrap[2])),
    )


@wp.func
def ggx(nh: float, nl: float, nv: float, fresnel: float, alpha: float) -> wp.float32:
    """`ops.gloss.ggx`."""
    a2 = alpha * alpha
    spread = nh * nh * (a2 - 1.0) + 1.0
    k = 0.5 * alpha
    hidden = (nl * (1.0 - k) + k) * (nv * (1.0 - k) + k)
    return 0.25 * a2 * fresnel * nl / (spread * spread * hidden)


@wp.func
def arcsine(x: float) -> wp.float32:
    """asin to 0.0001 (Abramowitz and Stegun, 4.4.45), at a third of its price."""
    a = wp.abs(x)
    rest = wp.sqrt(wp.max(1.0 - a, 0.0)) * (1.5707288 + a * (-0.2121144 + a * (0.0742610 - 0.0187293 * a)))
    return wp.sign(x) * (1.5707963 - rest)


@wp.func
def strands(lamp: Lamp, t: wp.vec3, viewer: wp.vec3) -> wp.float32:
    """`ops.gloss.strands`."""
    along = wp.dot(t, lamp.toward)
    off = (0.5 * (arcsine(along) + arcsine(wp.dot(t, viewer))) - TILT) / lamp.width
    if wp.abs(off) > 4.0:
        return 0.0
    band = wp.exp(-0.5 * off * off) / lamp.width
    return STRANDS * band * wp.sqrt(wp.max(1.0 - along * along, 0.0)) * lamp.facing


@wp.func
def highlight(lamp: Lamp, n: wp.vec3, t: wp.vec3, viewer: wp.vec3, share: wp.vec3) -> wp.float32:
    """What a lamp of colour 1 gives, `share` of it by the broad lobe, the sharp one and hair."""
    shine = 0.0
    nl = wp.dot(n, lamp.toward)
    if nl > 0.0 and share[0] + share[1] > 0.0:
        nh = wp.max(wp.dot(n, lamp.half), 0.0)
        nv = wp.max(wp.dot(n, viewer), 0.08)
        shine = share[0] * ggx(nh, nl, nv, lamp.fresnel, lamp.broad)
        shine += share[1] * ggx(nh, nl, nv, lamp.fresnel, lamp.sharp)
    if share[2] > 0.0:
        shine += share[2] * strands(lamp, t, viewer)
    return shine


@wp.func
def harmonics(n: wp.vec3) -> Vector9:
    """`ops.lighting.sh_basis`."""
    x = n[0]
    y = n[1]
    z = n[2]
    return Vector9(  # type: ignore[no-any-return]
        0.2820948,
        0.4886025 * y,
        0.4886025 * z,
        0.4886025 * x,
        1.0925484 * x * y,
        1.0925484 * y * z,
        0.3153916 * (3.0 * z * z - 1.0),
        1.0925484 * x * z,
        0.5462742 * (x * x - y * y),
    )


@wp.func
def sky_seen(sky: Colours9, n: wp.vec3) -> wp.vec3:
    """Shading by the open sky; never negative."""
    return wp.max(sky * harmonics(n), wp.vec3(0.0, 0.0, 0.0))


@wp.func
def sky_left(sky: Colours9, n: wp.vec3, light: wp.vec3) -> wp.vec3:
    """0..1 by colour, what is left of the open sky where the horizon leaves `light`."""
    least = wp.vec3(DARKEST_SKY, DARKEST_SKY, DARKEST_SKY)
    return wp.min(wp.cw_div(light, wp.max(sky * harmonics(n), least)), wp.vec3(1.0, 1.0, 1.0))


@wp.func
def learned(residual: Colours9, whole: Colours9) -> wp.vec3:
    """`ops.residual.lit`."""
    return wp.vec3(wp.dot(residual[0], whole[0]), wp.dot(residual[1], whole[1]), wp.dot(residual[2], whole[2]))  # type: ignore[index]


@wp.func
def bent(n: wp.vec3, bend: wp.vec3) -> wp.vec3:
    """n turned by `bend`: along the axis, as long as the sine of the angle."""
    across = wp.cross(bend, n)
    cosine = wp.sqrt(wp.max(1.0 - wp.dot(bend, bend), 0.0))
    return n + across + wp.cross(bend, across) / (1.0 + cosine)


@wp.func
def decoded(x: float, y: float) -> wp.vec3:
    """`ops.lighting.decode_normals` of a surface's two bytes, 0..1."""
    ex = (x * 2.0 - 1.0) * REACH
    ey = (y * 2.0 - 1.0) * REACH
    r2 = wp.min(ex * ex + ey * ey, 1.8)
    k = wp.sqrt(2.0 - r2)
    return wp.normalize(wp.vec3(ex * k, ey * k, 1.0 - r2))


@wp.func
def own_change(own: Vector9, room: wp.mat33, at_rest: wp.vec3, n: wp.vec3) -> wp.float32:
    """`ops.ownlight.change`: by how much the portrait's own light (own: radiance times Lambert's cosine) changes where
    a normal that was `at_rest` in the portrait is now n, on a part turned by `room`."""
    before = wp.max(wp.dot(own, harmonics(at_rest)), OWN_DARKEST)
    now = wp.max(wp.dot(own, harmonics(room * n)), OWN_DARKEST)
    return wp.clamp(now / before, OWN_LOWEST, OWN_HIGHEST)


@wp.func
def mirrored(table: wp.array2d(dtype=wp.vec3), n: wp.vec3) -> wp.vec3:
    """Bilinear entry of a table by encoded direction (`ops.lighting.encode_normals`)."""
    k = 1.0 / (REACH * wp.sqrt(wp.max(1.0 + n[2], 0.2)))
    last = float(table.shape[0] - 1)
    fx = wp.clamp((n[0] * k * 0.5 + 0.5) * last, 0.0, last - 0.001)
    fy = wp.clamp((n[1] * k * 0.5 + 0.5) * last, 0.0, last - 0.001)
    ix = int(fx)
    iy = int(fy)
    ax = fx - float(ix)
    ay = fy - float(iy)
    top = table[iy, ix] * (1.0 - ax) + table[iy, ix + 1] * ax
    bottom = table[iy + 1, ix] * (1.0 - ax) + table[iy + 1, ix + 1] * ax
    return top * (1.0 - ay) + bottom * ay
