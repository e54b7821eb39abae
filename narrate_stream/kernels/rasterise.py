"""The z-buffered rasteriser: triangles in, source coordinates and coverage out. One source for CPU and CUDA.

Two layers come out of one pass. *Core* holds the nearest fragment that is opaque; *fringe* holds the nearest fragment
that is partly transparent (hair edge of the matte, lip and lid borders) where it lies in front of the core. Fringe over
core over background gives antialiased edges without sorting.

Convention: screen coordinates are pixels with the centre of pixel (0, 0) at (0.0, 0.0); depth is passed as its inverse
(1/cm, larger = nearer), which is linear in screen space; triangles are two-sided. Source coordinates are interpolated
affinely inside a triangle: the meshes are fine enough (about 10 px) for the error to stay below 0.05 px.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import warp as wp

KEY_SCALE = 2.0e9  # inverse depth (1/cm, below 1) to 31 bits
CORE_ALPHA = 0.94  # from here up a fragment hides what lies behind it
# On a CPU a thread begins by fetching its arguments, which is dearer than a pixel: so each does several, one by one.
PIXELS, TRIANGLES = wp.constant(64), wp.constant(16)
_loading = Lock()
_loaded: set[tuple[str, str]] = set()  # names of Warp modules, and the device they are on


@wp.func
def plane(p: wp.vec3, q: wp.vec3, r: wp.vec3, area: float, fa: float, fb: float, fc: float) -> wp.vec3:
    """(constant, d/dx, d/dy) of the linear function that takes fa, fb, fc at the corners p, q, r."""
    dx = ((fb - fa) * (r[1] - p[1]) - (fc - fa) * (q[1] - p[1])) / area
    dy = ((fc - fa) * (q[0] - p[0]) - (fb - fa) * (r[0] - p[0])) / area
    return wp.vec3(fa - dx * p[0] - dy * p[1], dx, dy)


@wp.func
def larger(a: float, b: float) -> wp.float32:
    """One comparison, where `wp.max` takes three to be right about what is no number."""
    return wp.where(a > b, a, b)


@wp.func
def smaller(a: float, b: float) -> wp.float32:
    """The same for the smaller one."""
    return wp.where(a < b, a, b)


@wp.func
def edge(a: wp.vec3, b: wp.vec3, turn: float, left: float, right: float) -> wp.vec4:
    """Row y of a triangle lies, as far as the edge a-b goes, from e[0] + (y - a.y) * e[1] to e[2] + (y - a.y) * e[3],
    and from `left` to `right` anyhow; a level edge bounds no row."""
    rise = b[1] - a[1]
    if wp.abs(rise) < 1.0e-9:
        return wp.vec4(left, 0.0, right, 0.0)
    slope = (b[0] - a[0]) / rise
    if rise * turn < 0.0:
        return wp.vec4(a[0], slope, right, 0.0)
    return wp.vec4(left, 0.0, a[0], slope)


@wp.func
def narrowed(span: wp.vec2, line: wp.vec4, down: float) -> wp.vec2:
    """The part of `span` (x from, x to) inside an `edge`, `down` rows below its first end."""
    return wp.vec2(larger(span[0], line[0] + down * line[1]), smaller(span[1], line[2] + down * line[3]))


@wp.func
def draw(
    t: int,
    screen: wp.array(dtype=wp.vec3),
    source: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    opaque: wp.array(dtype=wp.uint8),
    alpha: wp.array2d(dtype=wp.uint8),
    width: int,
    first: int,
    last: int,
    setup: wp.array(dtype=wp.mat33),
    core: wp.array(dtype=wp.int64),
    fringe: wp.array(dtype=wp.int64),
):
    """Triangle t: its plane equations, and packed (inverse depth, triangle) keys of the nearest fragments in the rows
    from `first` to before `last` (bands of rows run side by side on a CPU)."""
    corner = triangles[t]
    a = screen[corner[0]]
    b = screen[corner[1]]
    c = screen[corner[2]]
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if wp.abs(area) < 1.0e-6:
        return
    turn = wp.sign(area)
    y0 = wp.max(int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])) - 1.0e-3)), first)
    y1 = wp.min(int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])) + 1.0e-3)), last - 1)
    if y0 > y1:
        return
    left = wp.max(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])) - 1.0e-3), 0.0)
    right = wp.min(wp.floor(wp.max(a[0], wp.max(b[0], c[0])) + 1.0e-3), float(width - 1))
    if left > right:
        return
    sa = source[corner[0]]
    sb = source[corner[1]]
    sc = source[corner[2]]
    z = plane(a, b, c, area, a[2], b[2], c[2])
    u = plane(a, b, c, area, sa[0], sb[0], sc[0])
    v = plane(a, b, c, area, sa[1], sb[1], sc[1])
    f = plane(a, b, c, area, sa[2], sb[2], sc[2])
    setup[t] = wp.mat33(u[0], u[1], u[2], v[0], v[1], v[2], f[0], f[1], f[2])
    ab = edge(a, b, turn, left, right)
    bc = edge(b, c, turn, left, right)
    ca = edge(c, a, turn, left, right)
    solid = opaque[t] != wp.uint8(0)
    mark = wp.int64(t)
    y = y0
    while y <= y1:  # `range`, which may count down too, is dearer in what is done so often
        fy = float(y)
        span = narrowed(narrowed(narrowed(wp.vec2(left, right), ab, fy - a[1]), bc, fy - b[1]), ca, fy - c[1])
        fx = wp.ceil(span[0] - 1.0e-3)
        p = y * width + int(fx)
        last_p = y * width + int(wp.floor(span[1] + 1.0e-3))
        zr = (z[0] + z[2] * fy) * KEY_SCALE
        zx = z[1] * KEY_SCALE
        if solid:
            while p <= last_p:
                wp.atomic_max(core, p, (wp.int64(zr + zx * fx) << wp.int64(32)) | mark)
                fx += 1.0
                p += 1
        while p <= last_p:
            iu = wp.clamp(int(u[0] + u[1] * fx + u[2] * fy + 0.5), 0, alpha.shape[1] - 1)
            iv = wp.clamp(int(v[0] + v[1] * fx + v[2] * fy + 0.5), 0, alpha.shape[0] - 1)
            feather = wp.clamp(f[0] + f[1] * fx + f[2] * fy, 0.0, 1.0)
            cover = float(alpha[iv, iu]) * feather * (1.0 / 255.0)
            key = (wp.int64(zr + zx * fx) << wp.int64(32)) | mark
            if cover >= CORE_ALPHA:
                wp.atomic_max(core, p, key)
            elif cover > 0.004:
                wp.atomic_max(fringe, p, key)
            fx += 1.0
            p += 1
        y += 1


@wp.kernel
def depth_pass(
    screen: wp.array(dtype=wp.vec3),
    source: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    opaque: wp.array(dtype=wp.uint8),
    alpha: wp.array2d(dtype=wp.uint8),
    width: int,
    first: int,
    last: int,
    setup: wp.array(dtype=wp.mat33),
    core: wp.array(dtype=wp.int64),
    fringe: wp.array(dtype=wp.int64),
):
    """`draw` of all triangles, TRIANGLES of them a thread."""
    t = wp.tid() * TRIANGLES
    end = wp.min(t + TRIANGLES, triangles.shape[0])
    while t < end:
        draw(t, screen, source, triangles, opaque, alpha, width, first, last, setup, core, fringe)
        t += 1


@wp.func
def fixed(x: float, y: float) -> wp.vec3i:
    """A point, not negative, as `cv2.convertMaps` has it: whole x and y, and the 32nds beyond, those of y * 32."""
    ix = int(x * 32.0 + 0.5)
    iy = int(y * 32.0 + 0.5)
    return wp.vec3i(ix >> 5, iy >> 5, ((iy & 31) << 5) | (ix & 31))


@wp.func
def see(seen: wp.array2d(dtype=wp.uint8), blocks: wp.vec2, at: wp.vec3):
    """Marks the block in which a source coordinate lies."""
    column = wp.clamp(int((at[0] + 0.5) * blocks[0]), 0, seen.shape[1] - 1)
    row = wp.clamp(int((at[1] + 0.5) * blocks[1]), 0, seen.shape[0] - 1)
    seen[row, column] = wp.uint8(1)


@wp.kernel
def resolve_pass(
    setup: wp.array(dtype=wp.mat33),
    core: wp.array(dtype=wp.int64),
    fringe: wp.array(dtype=wp.int64),
    width: int,
    first: int,
    last: int,
    covered: wp.array(dtype=wp.uint8),
    core_x: wp.array(dtype=float),
    core_y: wp.array(dtype=float),
    whole: wp.array2d(dtype=wp.int16),
    part: wp.array(dtype=wp.uint16),
    seen: wp.array2d(dtype=wp.uint8),
    blocks: wp.vec2,
    fringe_count: wp.array(dtype=int),
    fringe_pixel: wp.array(dtype=int),
    fringe_at: wp.array(dtype=wp.vec3),
):
    """Per pixel of the rows `first` to before `last`, PIXELS of them a thread: source coordinates of the core, also in
    fixed point (`cv2.convertMaps`), -1 and 0 where there is none and it is not `covered`; a list of the fringe pixels
    in front of it, which starts at the band's own first pixel; which blocks of the source are `seen` in either, so many
    `blocks` to a pixel."""
    low = wp.int64(4294967295)
    nothing = wp.int64(0)
    p = wp.tid() * PIXELS + first * width
    end = wp.min(p + PIXELS, last * width)
    y = p // width
    x = p - y * width
    while p < end:
        key = core[p]
        front = fringe[p]
        if (key | front) != nothing or covered[p] != wp.uint8(0):  # else there is nothing, as before
            core[p] = nothing  # ready for the next frame: cheaper here than clearing the buffers by themselves
            fringe[p] = nothing
            here = wp.vec3(1.0, float(x), float(y))
            at = wp.vec3(-1.0, -1.0, 0.0)
            near = wp.vec3i(0, 0, 0)
            if key > nothing:
                at = setup[int(key & low)] * here
                near = fixed(wp.max(at[0], 0.0), wp.max(at[1], 0.0))
                see(seen, blocks, at)
            covered[p] = wp.where(key > nothing, wp.uint8(1), wp.uint8(0))
            core_x[p] = at[0]
            core_y[p] = at[1]
            whole[p, 0] = wp.int16(near[0])
            whole[p, 1] = wp.int16(near[1])
            part[p] = wp.uint16(near[2])
            if front > key:
                n = first * width + wp.atomic_add(fringe_count, 0, 1)
                found = setup[int(front & low)] * here
                see(seen, blocks, found)
                fringe_pixel[n] = p
                fringe_at[n] = wp.vec3(found[0], found[1], wp.clamp(found[2], 0.0, 1.0))
        p += 1
        x += 1
        if x == width:
            x = 0
            y += 1


def launch(kernel: Any, dim: int, inputs: list[Any], device: str) -> None:
    """One place for launches, so that an empty mesh or picture is no special case for the callers."""
    if dim > 0:
        _load(kernel.module, device)
        wp.launch(kernel, dim=dim, inputs=inputs, device=device)


def _load(module: Any, device: str) -> None:
    """Makes sure that a module is there. Warp loads one at its first launch; two threads that launch at the same moment
    load it twice, and the second takes the code from under the first."""
    if (module.name, device) in _loaded:
        return
    with _loading:
        if (module.name, device) not in _loaded:
            wp.load_module(module, device)
            _loaded.add((module.name, device))
