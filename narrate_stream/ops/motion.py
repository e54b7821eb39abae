"""First-order motion (paper, 5.1; Siarohin et al. 2019): keypoints with jacobians, and the fields they span.

Near each keypoint a motion is its Taylor expansion of first order, an affine map; a dense field is their mean, weighted
by nearness. Keypoints of two pictures are comparable through a reference that both share: jacobians are taken in it.
The live path moves landmarks and leaves the dense field to the rasteriser; the dense half here is what FOMM's network
gives, and what the renderer is held against.

Convention: fields are backward and named `src_from_dst`: at (y, x) of the picture `dst` stands the place (x, y), px, of
the picture `src` that is shown there. Pixel centres are whole numbers. Occlusion is 1 where `dst` shows what `src`
hides (FOMM's own map is 1 minus this).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import Floats
from narrate_stream.types import Keypoints, MotionField

F64 = NDArray[np.float64]
TOLERANCE = 1.0  # px by which there and back again may miss
TEAR = 3.0  # px in src between neighbours in dst: beyond, a field is torn and not stretched


def fit_matrix(reference: Floats, weights: Floats, stiffness: float = 0.0) -> F64:
    """(K, 3, N) what finds keypoints by landmarks, see `fitted`: N landmarks in the reference picture (N, 2) px, their
    weights (N, K) in the neighbourhood of each keypoint.

    A keypoint is the weighted mean of its neighbourhood, its jacobian the affine least squares of it against the
    reference, pulled toward that of all landmarks together: `stiffness`, px, is how far a neighbourhood has to reach to
    be believed. Both are linear in the landmarks.
    """
    whole, extent = _levers(reference, np.ones((len(reference), 1)))
    levers, extents = _levers(reference, weights)
    pull = stiffness**2 * np.linalg.inv(extent) @ whole
    slopes = np.linalg.inv(extents + stiffness**2 * np.eye(2)) @ (levers + pull)
    return np.concatenate([(weights / weights.sum(0)).T[:, None], slopes], 1)


def _levers(reference: Floats, weights: Floats) -> tuple[F64, F64]:
    """(K, 2, N) weighted places about the means, which measure slopes; (K, 2, 2) the second moments to divide by."""
    share = weights / weights.sum(0)
    levers = (share[..., None] * (reference[:, None] - share.T @ reference)).transpose(1, 2, 0)
    return levers, levers @ reference


def fitted(points: Floats, matrix: Floats) -> Keypoints:
    """Keypoints of the picture with these landmarks (N, 2) px, by `fit_matrix`. The reference itself has the identity
    everywhere, and an affine picture of it that affine map."""
    found = matrix @ points
    return Keypoints(found[:, 0], found[:, 1:].transpose(0, 2, 1))


def transferred(source: Keypoints, first: Keypoints, now: Keypoints) -> Keypoints:
    """The source's keypoints moved as the driver's moved from `first` to `now`: `source` itself when they are equal."""
    change = now.jacobians @ np.linalg.inv(first.jacobians)
    return Keypoints(source.at + now.at - first.at, change @ source.jacobians)


def sparse_motions(src: Keypoints, dst: Keypoints, points: Floats) -> F64:
    """(..., K, 2) where each keypoint's affine motion src_from_dst takes `points` (..., 2) of dst."""
    jacobians = src.jacobians @ np.linalg.inv(dst.jacobians)
    offset = src.at - np.einsum("kij,kj->ki", jacobians, dst.at)
    return np.asarray(np.tensordot(points, jacobians, (-1, -1)) + offset)


def nearness(points: Floats, keypoints: Keypoints, sigma: float) -> F64:
    """(..., K) Gaussian heatmaps, 1 at each keypoint; sigma: px."""
    away = points[..., None, :] - keypoints.at
    return np.asarray(np.exp((away * away).sum(-1) / (-2 * sigma * sigma)))


def blended(motions: Floats, weights: Floats) -> F64:
    """(..., 2) mean of motions (..., K, 2) by weights (..., K)."""
    return np.asarray(np.einsum("...k,...ki->...i", weights, motions) / weights.sum(-1, keepdims=True))


def pixel_grid(size: tuple[int, int]) -> F64:
    """(H, W, 2) x and y of every pixel of a picture of `size` (W, H)."""
    return np.stack(np.meshgrid(np.arange(float(size[0])), np.arange(float(size[1]))), -1)


def dense_motion(src: Keypoints, dst: Keypoints, points: Floats, sigma: float, still: float = 0.02) -> F64:
    """(..., 2) src_from_dst at `points` (..., 2) of dst. `still`: the weight of not moving, which wins far away."""
    weights = nearness(points, dst, sigma)
    held = np.concatenate([weights, np.full((*weights.shape[:-1], 1), still)], -1)
    return blended(np.concatenate([sparse_motions(src, dst, points), points[..., None, :]], -2), held)


def dense_field(
    src: Keypoints, dst: Keypoints, size: tuple[int, int], sigma: float, still: float = 0.02
) -> MotionField:
    """The field src_from_dst of pictures of `size` (W, H), and what it cannot know; see `dense_motion`."""
    grid = pixel_grid(size)
    there, back = dense_motion(src, dst, grid, sigma, still), dense_motion(dst, src, grid, sigma, still)
    return MotionField(there.astype(np.float32), occlusion(there, back))


def occlusion(src_from_dst: Floats, dst_from_src: Floats, tolerance: float = TOLERANCE) -> NDArray[np.float32]:
    """(H, W) 1 where going there and back misses, or leaves the picture: dst shows what src hides."""
    back = sampled(dst_from_src, src_from_dst)
    h, w = src_from_dst.shape[:2]
    missed = np.linalg.norm(back - pixel_grid((w, h)), axis=-1) > tolerance
    return np.asarray(missed | _outside(src_from_dst, dst_from_src.shape[:2]), np.float32)


def composed(outer: MotionField, inner: MotionField) -> MotionField:
    """src_from_dst of `outer` src_from_mid and `inner` mid_from_dst: the outer field read where the inner one points.

    The paper writes T_{I<-D} = T_{Ir<-D} + T_{I<-Ir}. As displacements that sum is right when the second is taken at
    the place to which the first has led: u(z) = u_inner(z) + u_outer(z + u_inner(z)), which is what this does.
    """
    at = inner.src_from_dst
    hidden = np.maximum(outer.occlusion, torn(outer.src_from_dst))
    lost = (sampled(hidden, at) > 0) | _outside(at, hidden.shape)
    return MotionField(sampled(outer.src_from_dst, at), np.maximum(inner.occlusion, lost).astype(np.float32))


def torn(src_from_dst: Floats) -> NDArray[np.float32]:
    """(H, W) 1 where a field jumps from one surface to another: nothing lies between them to interpolate."""
    field, block = src_from_dst.astype(np.float32), np.ones((3, 3), np.uint8)
    spread = np.asarray(cv2.dilate(field, block) - cv2.erode(field, block))  # a border pixel sees its own side only
    return np.asarray((spread.max(-1) > 2 * TEAR).astype(np.float32))


def sampled(picture: Floats, at: Floats) -> NDArray[np.float32]:
    """(H, W, ...) bilinear samples of a picture at places (H, W, 2); its border goes on outside."""
    at = at.astype(np.float32)
    return np.asarray(
        cv2.remap(picture.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _outside(at: Floats, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W) true where places (H, W, 2) lie outside a picture of `shape` (H, W)."""
    return np.asarray(((at < -0.5) | (at > np.array([shape[1], shape[0]]) - 0.5)).any(-1))
