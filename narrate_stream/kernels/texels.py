"""Light over the texels of the small atlas: the fast path's kernels. One launch for each band of texels."""

from __future__ import annotations

from typing import Any

import warp as wp

from narrate_stream.kernels.light import (
    Colours9,
    Lamp,
    PartLight,
    Vector9,
    bent,
    eased,
    highlight,
    learned,
    mirrored,
    own_change,
    shade,
    sky_left,
    sky_seen,
)

RUN = wp.constant(64)  # texels a thread lights: see `rasterise.PIXELS`
TILTED = wp.constant(0.2)  # tangent of the tilt by which slopes of light are measured
SELF_LIT = wp.constant(0.03)  # shading by the person itself, about
SLIGHTEST = wp.constant(1.0e-6)  # bend, squared, that is none


@wp.struct
class Texel:
    """A texel in which a part of the person has a share. place: in the map; weight 0..1: that share; normal and
    tangent: of skin and of hair, unit; lobes: of the broad and the sharp highlight, of hair and of the environment's
    mirror image; transfer, radiosity: see `shading.Atlas`, but for the cosine, which the sky brings; dark: what
    highlights are multiplied with, since the map multiplies the albedo; corner, by: the vertices whose bend it takes,
    and how much of each; none: -1; block: of the atlas, in which it lies (`renderer.BLOCKS`).

    One structure, not an array for each of its fields: a texel's numbers lie side by side in memory."""

    place: int
    weight: float
    normal: wp.vec3
    tangent: wp.vec3
    lobes: wp.vec4
    transfer: Vector9
    radiosity: wp.vec3
    dark: wp.vec3
    corner: wp.vec3i
    by: wp.vec3
    block: int


TEXEL: Any = Texel.numpy_dtype()  # type: ignore[attr-defined]


@wp.func
def bend_of(bend: wp.array(dtype=wp.vec3), at: wp.vec3i, by: wp.vec3) -> wp.vec3:
    """How the expression has turned the surface at a texel; `bend` by vertex, empty at rest."""
    if bend.shape[0] > 0 and at[0] >= 0:
        return bend[at[0]] * by[0] + bend[at[1]] * by[1] + bend[at[2]] * by[2]
    return wp.vec3(0.0, 0.0, 0.0)


@wp.func
def seen_of(lamp: Lamp, planes: wp.array2d(dtype=wp.uint8), i: int) -> wp.float32:
    """0..1 how much of a lamp is seen from texel i."""
    a = float(planes[i, lamp.first])
    b = float(planes[i, lamp.second])
    return eased(lamp.above + a * lamp.step_a + b * lamp.step_b)


@wp.func
def diffuse(part: PartLight, planes: wp.array2d(dtype=wp.uint8), i: int, texel: Texel, n: wp.vec3) -> wp.vec3:
    """Shading of texel i by sky and lamps, were its normal n."""
    least = wp.vec3(0.0, 0.0, 0.0)
    left = sky_left(part.sky, texel.normal, wp.max(part.sky * texel.transfer, least))
    light = wp.cw_mul(sky_seen(part.sky, n), left)
    for k in range(part.count):
        light += shade(part.lamps[k], n) * seen_of(part.lamps[k], planes, i)
    return light


@wp.struct
class Shone:
    """Shading, and highlights on top of it."""

    light: wp.vec3
    shine: wp.vec3


@wp.func
def lit(
    i: int,
    texel: Texel,
    planes: wp.array2d(dtype=wp.uint8),
    residual: wp.array(dtype=Colours9),
    part: PartLight,
    bend: wp.vec3,
) -> Shone:
    """The light on texel i, as bent."""
    n = texel.normal
    light = wp.max(part.sky * texel.transfer, wp.vec3(0.0, 0.0, 0.0))
    if wp.dot(bend, bend) > SLIGHTEST:
        n = bent(texel.normal, bend)
        left = sky_left(part.sky, texel.normal, light)
        light += wp.cw_mul(sky_seen(part.sky, n) - sky_seen(part.sky, texel.normal), left)
    viewer = wp.vec3(part.rotation[2, 0], part.rotation[2, 1], part.rotation[2, 2])
    lobes = wp.vec3(texel.lobes[0], texel.lobes[1], texel.lobes[2])
    shine = wp.vec3(0.0, 0.0, 0.0)
    for k in range(part.count):
        lamp = part.lamps[k]
        seen = seen_of(lamp, planes, i)
        if seen > 0.0:
            light += shade(lamp, n) * seen
            shine += lamp.colour * (seen * highlight(lamp, n, texel.tangent, viewer, lobes))
    if residual.shape[0] > 0:
        light = wp.max(light + learned(residual[i], part.whole), wp.vec3(0.0, 0.0, 0.0))
    if part.mirrors > 0:
        shine += mirrored(part.mirror, part.rotation * n) * texel.lobes[3]
    out = Shone()
    out.light = light
    out.shine = shine
    return out


@wp.kernel
def texel_pass(
    texels: wp.array(dtype=Texel),
    planes: wp.array2d(dtype=wp.uint8),
    residual: wp.array(dtype=Colours9),
    part: PartLight,
    bend: wp.array(dtype=wp.vec3),
    seen: wp.array(dtype=wp.uint8),
    below: wp.array(dtype=wp.vec3),
    thrown: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
):
    """out[place] = below[place] + weight * (sky + lamps + highlights / albedo), where the block is `seen` or lights
    others; planes (n, A): horizons, bytes; residual (n,): what F_R adds, or none (0,); thrown[0]: what all the texels
    throw on one another."""
    i = wp.tid() * RUN
    end = wp.min(i + RUN, texels.shape[0])
    total = wp.vec3(0.0, 0.0, 0.0)
    while i < end:
        texel = texels[i]
        if seen[texel.block] != wp.uint8(0) or texel.radiosity[0] + texel.radiosity[1] + texel.radiosity[2] > 0.0:
            got = lit(i, texel, planes, residual, part, bend_of(bend, texel.corner, texel.by))
            total += wp.cw_mul(got.light, texel.radiosity) * texel.weight
            out[texel.place] = below[texel.place] + (got.light + wp.cw_mul(got.shine, texel.dark)) * texel.weight
        i += 1
    wp.atomic_add(thrown, 0, total)


@wp.kernel
def own_pass(
    texels: wp.array(dtype=Texel),
    own: Vector9,
    room: wp.mat33,
    bend: wp.array(dtype=wp.vec3),
    seen: wp.array(dtype=wp.uint8),
    below: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
):
    """out[place] = below[place] + weight * by how much the portrait's own light changes on a part turned by `room`,
    where the block is `seen`."""
    i = wp.tid() * RUN
    end = wp.min(i + RUN, texels.shape[0])
    while i < end:
        texel = texels[i]
        if seen[texel.block] != wp.uint8(0):
            now = bent(texel.normal, bend_of(bend, texel.corner, texel.by))
            change = own_change(own, room, texel.normal, now) * texel.weight
            out[texel.place] = below[texel.place] + wp.vec3(change, change, change)
        i += 1


@wp.kernel
def slope_pass(
    texels: wp.array(dtype=Texel),
    planes: wp.array2d(dtype=wp.uint8),
    part: PartLight,
    bend: wp.array(dtype=wp.vec3),
    right: wp.array(dtype=wp.vec3),
    up: wp.array(dtype=wp.vec3),
):
    """right, up [place]: by how much the light of a texel changes with a tilt of its normal that way, over that
    light."""
    i = wp.tid()
    texel = texels[i]
    n = bent(texel.normal, bend_of(bend, texel.corner, texel.by))
    x = wp.vec3(TILTED, 0.0, 0.0)
    y = wp.vec3(0.0, TILTED, 0.0)
    whole = diffuse(part, planes, i, texel, n) + wp.vec3(SELF_LIT, SELF_LIT, SELF_LIT)
    k = 1.0 / (2.0 * TILTED)
    a = diffuse(part, planes, i, texel, wp.normalize(n + x))
    b = diffuse(part, planes, i, texel, wp.normalize(n - x))
    right[texel.place] = wp.cw_div(a - b, whole) * k
    a = diffuse(part, planes, i, texel, wp.normalize(n + y))
    b = diffuse(part, planes, i, texel, wp.normalize(n - y))
    up[texel.place] = wp.cw_div(a - b, whole) * k


@wp.kernel
def own_slope_pass(
    texels: wp.array(dtype=Texel),
    own: Vector9,
    room: wp.mat33,
    bend: wp.array(dtype=wp.vec3),
    right: wp.array(dtype=wp.vec3),
    up: wp.array(dtype=wp.vec3),
):
    """The same of the portrait's own light on a part turned by `room`."""
    texel = texels[wp.tid()]
    n = bent(texel.normal, bend_of(bend, texel.corner, texel.by))
    x = wp.vec3(TILTED, 0.0, 0.0)
    y = wp.vec3(0.0, TILTED, 0.0)
    k = 1.0 / (2.0 * TILTED)
    whole = own_change(own, room, n, n)
    across = (own_change(own, room, n, wp.normalize(n + x)) - own_change(own, room, n, wp.normalize(n - x))) / whole * k
    along = (own_change(own, room, n, wp.normalize(n + y)) - own_change(own, room, n, wp.normalize(n - y))) / whole * k
    right[texel.place] = wp.vec3(across, across, across)
    up[texel.place] = wp.vec3(along, along, along)
