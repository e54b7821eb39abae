"""Poisson normal integration with depth priors (paper, 4.2).

Normals prescribe the gradient of log depth (perspective) or depth (orthographic); a weak pull to the coarse depth fixes
the scale and, where it is strong, holds the discontinuities: one constrained sparse linear system, solved by conjugate
gradients with a multigrid preconditioner.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import Camera
from offline.multigrid import Membrane, solve

F64 = NDArray[np.float64]


def normals_from_depth(z: F64, camera: Camera | None, unit: float = 1.0) -> F64:
    """(H, W, 3) unit normals of a camera-space z map (cm). Orthographic with `unit` cm per pixel when camera is
    None."""
    h, w = z.shape
    if camera is None:
        dx, dy = np.gradient(z, axis=1) / unit, -np.gradient(z, axis=0) / unit
        n = np.stack([-dx, -dy, np.ones_like(z)], -1)
    else:
        px, py = np.meshgrid(np.arange(w), np.arange(h))
        point = camera.unproject(np.stack([px, py], -1).astype(np.float64), z)
        n = np.cross(np.gradient(point, axis=0), np.gradient(point, axis=1))
        n = -n if np.median(n[..., 2]) < 0 else n
    return np.asarray(n / (np.linalg.norm(n, axis=-1, keepdims=True) + 1e-12))


def slopes(normals: F64, camera: Camera | None, unit: float, steepest: float) -> tuple[F64, F64]:
    """(H, W) gradients along columns and rows (down) of log(-z) (perspective) or of z (orthographic)."""
    h, w = normals.shape[:2]
    nx, ny, nz = normals[..., 0], normals[..., 1], normals[..., 2]
    if camera is None:
        floor = np.maximum(nz, 1 / steepest)
        return -nx / floor * unit, ny / floor * unit
    px, py = np.meshgrid(np.arange(w) - camera.cx, np.arange(h) - camera.cy)
    # with depth D = -z the surface is D * (px, -py, -f) / f; n . dX = 0 gives d(log D)
    denominator = nx * px - ny * py - nz * camera.focal
    denominator = np.minimum(denominator, -camera.focal / steepest)
    return -nx / denominator, ny / denominator


def integrate(
    normals: F64,
    prior: F64,
    weight: F64,
    edges: F64,
    camera: Camera | None,
    unit: float = 1.0,
    steepest: float = 6.0,
    blur: float = 0.0,
) -> F64:
    """(H, W) depth z whose gradients follow `normals` (H, W, 3), held to `prior` z (H, W) by `weight` (H, W).

    edges (H, W), 0..1, is how far the normals are believed at a pixel: 0 across discontinuities (silhouette, hair),
    where only the prior joins the two sides. blur: pixels (sigma) over which the normals are averages; the mean normal
    of a narrow steep place, such as a nose's wing, is not steep enough, and with a blur normals only tell by how much
    the surface departs from the prior as it looks through the same blur. Raises ValueError when no pixel has a weight.
    """
    if not (weight > 0).any():
        raise ValueError("integration needs a depth prior somewhere")
    target = np.log(-prior) if camera is not None else prior
    gx, gy = slopes(normals, camera, unit, steepest)
    own_x, own_y = np.zeros_like(target), np.zeros_like(target)
    if blur > 0:
        bx, by = slopes(blurred(normals_from_depth(prior, camera, unit), blur), camera, unit, steepest)
        gx, gy = gx - bx, gy - by
        own_x[:, :-1], own_y[:-1] = np.diff(target, axis=1), np.diff(target, axis=0)
    right, down, flow_x, flow_y = (np.zeros_like(target) for _ in range(4))
    right[:, :-1] = np.minimum(edges[:, 1:], edges[:, :-1]) ** 2
    down[:-1] = np.minimum(edges[1:], edges[:-1]) ** 2
    flow_x[:, :-1] = right[:, :-1] * ((gx[:, 1:] + gx[:, :-1]) / 2 + own_x[:, :-1])
    flow_y[:-1] = down[:-1] * ((gy[1:] + gy[:-1]) / 2 + own_y[:-1])
    tie = weight + 1e-9
    wanted = tie * target - flow_x - flow_y
    wanted[:, 1:] += flow_x[:, :-1]
    wanted[1:] += flow_y[:-1]
    z = solve(Membrane(right, down, tie), wanted, target)
    return np.asarray(-np.exp(z) if camera is not None else z)


def blurred(normals: F64, sigma: float) -> F64:
    """(H, W, 3) unit normals averaged over `sigma` pixels."""
    mean = cv2.GaussianBlur(normals, (0, 0), sigma)
    return np.asarray(mean / (np.linalg.norm(mean, axis=-1, keepdims=True) + 1e-12))
