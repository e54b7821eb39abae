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
_loading = Lock()
_loaded: set[tuple[str, str]] = set()  # names of Warp modules, and the device they are on


@wp.func
def plane(p: wp.vec3, q: wp.vec3, r: wp.vec3, area: float, fa: float, fb: float, fc: float) -> wp.vec3:
    """(constant, d/dx, d/dy) of the linear function that takes fa, fb, fc at the corners p, q, r."""
    dx = ((fb - fa) * (r[1] - p[1]) - (fc - fa) * (q[1] - p[1])) / area
    dy = ((fc - fa) * (q[0] - p[0]) - (fb - fa) * (r[0] - p[0])) / area
    return wp.vec3(fa - dx * p[0] - dy * p[1], dx, dy)


@wp.func
def narrowed(span: wp.vec2, a: wp.vec3, b: wp.vec3, turn: float, y: float) -> wp.vec2:
    """The part of `span` (x from, x to) on row y that lies on the inner side of the edge a-b."""
    slope = (a[1] - b[1]) * turn
    rest = ((b[0] - a[0]) * (y - a[1]) + (b[1] - a[1]) * a[0]) * turn
    lo = span[0]
    hi = span[1]
    if slope > 1.0e-9:
        lo = wp.max(lo, -rest / slope)
    elif slope < -1.0e-9:
        hi = wp.min(hi, -rest / slope)
    elif rest < 0.0:
        hi = lo - 2.0
    return wp.vec2(lo, hi)


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
    """Per triangle: its plane equations, and packed (inverse depth, triangle) keys of the nearest fragments in the rows
    from `first` to before `last` (bands of rows run side by side on a CPU)."""
    t = wp.tid()
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
    solid = opaque[t] != wp.uint8(0)
    mark = wp.int64(t)
    for y in range(y0, y1 + 1):
        fy = float(y)
        span = wp.vec2(left, right)
        span = narrowed(span, a, b, turn, fy)
        span = narrowed(span, b, c, turn, fy)
        span = narrowed(span, c, a, turn, fy)
        x0 = int(wp.ceil(span[0] - 1.0e-3))
        x1 = int(wp.floor(span[1] + 1.0e-3))
        zr = (z[0] + z[2] * fy) * KEY_SCALE
        zx = z[1] * KEY_SCALE
        row = y * width
        if solid:
            for x in range(x0, x1 + 1):
                wp.atomic_max(core, row + x, (wp.int64(zr + zx * float(x)) << wp.int64(32)) | mark)
        else:
            for x in range(x0, x1 + 1):
                fx = float(x)
                iu = wp.clamp(int(u[0] + u[1] * fx + u[2] * fy + 0.5), 0, alpha.shape[1] - 1)
                iv = wp.clamp(int(v[0] + v[1] * fx + v[2] * fy + 0.5), 0, alpha.shape[0] - 1)
                feather = wp.clamp(f[0] + f[1] * fx + f[2] * fy, 0.0, 1.0)
                cover = float(alpha[iv, iu]) * feather * (1.0 / 255.0)
                key = (wp.int64(zr + zx * fx) << wp.int64(32)) | mark
                if cover >= CORE_ALPHA:
                    wp.atomic_max(core, row + x, key)
                elif cover > 0.004:
                    wp.atomic_max(fringe, row + x, key)


@wp.kernel
def resolve_pass(
    core: wp.array(dtype=wp.int64),
    fringe: wp.array(dtype=wp.int64),
    setup: wp.array(dtype=wp.mat33),
    width: int,
    first: int,
    core_x: wp.array(dtype=float),
    core_y: wp.array(dtype=float),
    fringe_count: wp.array(dtype=int),
    fringe_pixel: wp.array(dtype=int),
    fringe_at: wp.array(dtype=wp.vec3),
):
    """Per pixel from row `first` on: source coordinates of the core (-1 where there is none); a list of the fringe
    pixels in front of it, which starts at the band's own first pixel."""
    p = wp.tid() + first * width
    key = core[p]
    front = fringe[p]
    core[p] = wp.int64(0)  # ready for the next frame: cheaper here than clearing the buffers by themselves
    fringe[p] = wp.int64(0)
    low = wp.int64(4294967295)
    y = p // width
    fx = float(p - y * width)
    fy = float(y)
    if key > wp.int64(0):
        t = int(key & low)
        at = setup[t] * wp.vec3(1.0, fx, fy)
        core_x[p] = at[0]
        core_y[p] = at[1]
    else:
        core_x[p] = -1.0
        core_y[p] = -1.0
    if front > key:
        s = int(front & low)
        n = wp.atomic_add(fringe_count, 0, 1)
        found = setup[s] * wp.vec3(1.0, fx, fy)
        fringe_pixel[first * width + n] = p
        fringe_at[first * width + n] = wp.vec3(found[0], found[1], wp.clamp(found[2], 0.0, 1.0))


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
