"""Smooth silhouettes: the edges behind which a surface turns away or ends get a rim one pixel wide that fades outward.

The rasteriser asks only at the middle of a pixel whether a triangle covers it, so that outlines are stairs. Where the
matte ends inside a sheet its fringe is soft already; the rim of a silhouette becomes fringe in the same way: it shows
what the edge shows and covers the less of a pixel the farther that is from the edge.

Convention: as in `kernels/rasterise.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.kernels.rasterise import KEY_SCALE
from narrate_stream.types import Array

FAINTEST = 0.004  # coverage below which nothing is to be seen
WHOLE, SHOWN = 1.0, 0.5  # feather and matte from which on an edge is none that fades by itself


class Silhouettes:
    """The edges of one mesh, and which of them are silhouettes in a view."""

    def __init__(
        self, triangles: NDArray[np.int32], feather: Array, alpha: Array, ending: NDArray[np.bool_] | None = None
    ) -> None:
        """triangles (T, 3); feather (V,) of its vertices, alpha (V,) 0..1 what they show. Edges that fade by themselves
        or show little are left out; so are ends between vertices that are not `ending` (V,): those of teeth and tongue
        lie behind lips, through whose soft border a rim would show as a dark line."""
        corner = np.stack([triangles, np.roll(triangles, -1, 1), np.roll(triangles, -2, 1)], -1).reshape(-1, 3)
        a, b = np.sort(corner[:, :2], 1).T
        seen = (np.minimum(feather[a], feather[b]) >= WHOLE) & (np.minimum(alpha[a], alpha[b]) > SHOWN)
        side = np.flatnonzero(seen)  # of a triangle
        side = side[np.argsort(a[side].astype(np.int64) * len(feather) + b[side], kind="stable")]
        first = np.append(True, (a[side][1:] != a[side][:-1]) | (b[side][1:] != b[side][:-1]))[: len(side)]
        second = np.append(first[1:], True)[: len(side)]
        pair = np.flatnonzero(~second & first)
        one, other = side[pair], side[pair + 1]
        alone = side[first & second]
        if ending is not None:
            alone = alone[ending[a[alone]] & ending[b[alone]]]
        self._corners = np.ascontiguousarray(triangles.T, np.intp)
        self.edges = np.concatenate([corner[one], corner[alone]]).astype(np.int32)  # a, b, opposite
        self._pairs = np.stack([one, other]) // 3
        self._against = corner[one, 0] == corner[other, 0]  # wound against each other
        self._rest = np.arange(len(one), len(self.edges))

    def seen(self, screen: Array) -> NDArray[np.int32]:
        """(S,) indices of the edges that are silhouettes of the mesh at `screen` (V, 3): where it turns away, and
        where it ends."""
        x, y = (screen[:, k].copy().take(self._corners) for k in (0, 1))
        front = (x[1] - x[0]) * (y[2] - y[0]) > (y[1] - y[0]) * (x[2] - x[0])
        one, other = front.take(self._pairs)
        turns = (one ^ other) != self._against
        return np.asarray(np.concatenate([np.flatnonzero(turns), self._rest]), np.int32)


@wp.kernel
def rim_pass(
    chosen: wp.array(dtype=int),
    edges: wp.array(dtype=wp.vec3i),
    count: int,
    screen: wp.array(dtype=wp.vec3),
    source: wp.array(dtype=wp.vec3),
    width: int,
    first: int,
    last: int,
    setup: wp.array(dtype=wp.mat33),
    fringe: wp.array(dtype=wp.int64),
):
    """Per silhouette: the pixels less than one beside it become fringe; `count`: triangles, behind which the edges'
    plane equations lie in `setup`. The coverage falls along the axis that the edge is the less along."""
    e = wp.tid()
    corner = edges[chosen[e]]
    a = screen[corner[0]]
    b = screen[corner[1]]
    c = screen[corner[2]]
    steep = wp.abs(b[1] - a[1]) >= wp.abs(b[0] - a[0])
    i = 0
    if steep:
        i = 1
    j = 1 - i  # runs along i, steps aside along j
    if wp.abs(b[i] - a[i]) < 1.0e-4:
        return
    lo = int(wp.ceil(wp.min(a[i], b[i]) - 1.0e-3))
    hi = int(wp.floor(wp.max(a[i], b[i]) + 1.0e-3))
    slope = (b[j] - a[j]) / (b[i] - a[i])
    start = a[j] - slope * a[i]
    aside = -wp.sign(c[j] - start - slope * c[i])
    if steep:
        lo = wp.max(lo, first)
        hi = wp.min(hi, last - 1)
    else:
        lo = wp.max(lo, 0)
        hi = wp.min(hi, width - 1)
    if lo > hi or aside == 0.0:
        return
    sa = source[corner[0]]
    sb = source[corner[1]]
    du = (sb[0] - sa[0]) / (b[i] - a[i])
    dv = (sb[1] - sa[1]) / (b[i] - a[i])
    dz = (b[2] - a[2]) / (b[i] - a[i])
    u = sa[0] - du * a[i]
    v = sa[1] - dv * a[i]
    f = 1.0 + aside * start
    if steep:
        setup[count + e] = wp.mat33(u, 0.0, du, v, 0.0, dv, f, -aside, aside * slope)
    else:
        setup[count + e] = wp.mat33(u, du, 0.0, v, dv, 0.0, f, aside * slope, -aside)
    mark = wp.int64(count + e)
    for k in range(lo, hi + 1):
        at = start + slope * float(k)
        p = int(wp.floor(at)) + 1
        if aside < 0.0:
            p = int(wp.ceil(at)) - 1
        y = p
        x = k
        if steep:
            y = k
            x = p
        shown = 1.0 - wp.abs(float(p) - at) > FAINTEST
        if shown and x >= 0 and x < width and y >= first and y < last:
            z = (a[2] + dz * (float(k) - a[i])) * KEY_SCALE
            wp.atomic_max(fringe, y * width + x, (wp.int64(z) << wp.int64(32)) | mark)


def vertex_alpha(alpha: NDArray[Any], source: Array) -> Array:
    """(V,) 0..1 the matte (h, w) bytes at the source (V, 3) of each vertex."""
    at = np.clip(np.round(source[:, :2]).astype(int), 0, [alpha.shape[1] - 1, alpha.shape[0] - 1])
    return np.asarray(alpha[at[:, 1], at[:, 0]] / np.float32(255), np.float32)
