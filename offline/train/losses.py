"""Losses (paper, 4.3: MSE + SSIM; normals: angular too) and the numbers they are judged by.

Convention: maps (B, C, H, W); weight (B, 1, H, W), 0 where a pixel does not count; a loss is a mean over the rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

WINDOW, STRIDE = 7, 3
C1, C2 = 0.01**2, 0.03**2
# background, skin, hair, cloth, eye, inside of the mouth, glasses
LABEL_WEIGHT = (0.0, 1.0, 0.3, 0.25, 0.8, 0.4, 0.4)


def label_weight(label: Tensor, valid: Tensor) -> Tensor:
    """(B, 1, H, W): the face counts more than the rest."""
    table = label.new_tensor(LABEL_WEIGHT)
    return table[label.long().clamp(0, len(LABEL_WEIGHT) - 1)] * valid


def mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of (B, C, H, W)."""
    return (values * weight).sum() / (weight.sum() * values.shape[1]).clamp_min(1.0)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """(B, 1, H, W) radians between unit vectors, by the chord: its gradient is finite for equal vectors too."""
    chord = ((a - b).square().sum(1, keepdim=True) + 1e-7).sqrt()
    return 2 * torch.asin((chord / 2).clamp_max(0.9999))


def ssim(a: Tensor, b: Tensor, weight: Tensor, *, span: float = 1.0) -> Tensor:
    """Scalar mean SSIM over windows of 7x7, weighted by how much of them counts; span: the values' range."""
    a, b = a * (weight > 0), b * (weight > 0)

    def pool(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, WINDOW, STRIDE)

    ma, mb = pool(a), pool(b)
    va, vb, ab = pool(a * a) - ma * ma, pool(b * b) - mb * mb, pool(a * b) - ma * mb
    c1, c2 = C1 * span**2, C2 * span**2
    value = (2 * ma * mb + c1) * (2 * ab + c2) / ((ma * ma + mb * mb + c1) * (va.clamp_min(0) + vb.clamp_min(0) + c2))
    return mean(value, pool(weight))


def normals_loss(normal: Tensor, log_error: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """MSE + SSIM + angle, and the likelihood of the error that the network expects of itself (exponential; the error
    itself is not pulled by it)."""
    error = angle(normal, truth)
    expected = error.detach() * torch.exp(-log_error) + log_error
    shape = 1 - ssim(normal, truth, weight, span=2.0)
    return mean((normal - truth).square(), weight) + 0.2 * shape + mean(error, weight) + 0.1 * mean(expected, weight)


def picture_loss(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """MSE + SSIM of sRGB-encoded pictures, with a little of the absolute error for the colours."""
    difference = picture - truth
    shape = 1 - ssim(picture, truth, weight)
    return 4 * mean(difference.square(), weight) + 0.2 * shape + 0.5 * mean(difference.abs(), weight)


def linear_from_srgb(value: Tensor) -> Tensor:
    """sRGB 0..1 -> linear 0..1."""
    return torch.where(value <= 0.04045, value / 12.92, ((value.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(value: Tensor) -> Tensor:
    """Linear 0.. -> sRGB 0.., not clipped above 1."""
    safe = value.clamp_min(0.0031308)
    return torch.where(value <= 0.0031308, value * 12.92, 1.055 * safe ** (1 / 2.4) - 0.055)


def angle_numbers(degrees: Tensor) -> dict[str, float]:
    """mean, median and the shares (percent) under 5, 15, 25 and 30 degrees (the paper's Table 1) of errors (N,)."""
    if not len(degrees):
        return {"mean": math.nan, "median": math.nan}
    shares = {f"under_{limit}": float((degrees < limit).float().mean()) * 100 for limit in (5, 15, 25, 30)}
    return {"mean": float(degrees.mean()), "median": float(degrees.median()), **shares}


def scaled_rmse(picture: Tensor, truth: Tensor) -> float:
    """RMSE of (N, 3) linear after the best gain per channel."""
    gain = (picture * truth).sum(0) / picture.square().sum(0).clamp_min(1e-9)
    return float((picture * gain - truth).square().mean().sqrt())
