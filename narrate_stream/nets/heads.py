"""What goes into the three networks and what their numbers mean; the same for training and for use.

Convention: images (B, C, H, W), normals unit vectors in camera space (x right, y up, z toward the viewer), mask 1 where
the photograph shows the person, everything zero where the mask is.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrate_stream.nets.unet import UNet

F32 = NDArray[np.float32]
LIMIT = 0.3  # of a coefficient of F_R's answer
TYPICAL = -1.6  # log radians (about 12 degrees): where the estimate of a normal's own error begins


def normals_input(image: Tensor, mask: Tensor, prior: Tensor) -> Tensor:
    """F_N's input (B, 7): image sRGB 0..1 (B, 3), mask (B, 1), prior normals (B, 3; zero where there are none)."""
    return torch.cat([image * mask, mask, prior * mask], 1)


def normals_of(raw: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """F_N's output: unit normals (B, 3), and the log of the expected angular error in radians (B, 1)."""
    ahead = torch.zeros_like(prior)
    ahead[:, 2] = 1
    base = torch.where(prior.square().sum(1, keepdim=True) > 0.01, prior, ahead)
    free = base + raw[:, :3]
    # by hand: ten times as quick on a CPU as F.normalize across channels
    normal = free * (free.square().sum(1, keepdim=True) + 1e-8).rsqrt()
    return normal, (raw[:, 3:4] + TYPICAL).clamp(-5, 1.2)


def albedo_input(image: Tensor, mask: Tensor, normal: Tensor) -> Tensor:
    """F_A's input (B, 7): image sRGB 0..1 (B, 3), mask (B, 1), normals (B, 3)."""
    return torch.cat([image * mask, mask, normal * mask], 1)


def albedo_of(raw: Tensor, image: Tensor) -> Tensor:
    """F_A's output: albedo (B, 3), sRGB-encoded 0..1; the network moves the photograph on the logistic scale."""
    return torch.sigmoid(raw + torch.logit(image, eps=0.03))


def relight_input(albedo: Tensor, mask: Tensor, normal: Tensor, transfer: Tensor) -> Tensor:
    """F_R's input (B, 16): albedo linear (B, 3), mask (B, 1), normals (B, 3), and the light maps: transfer (B, 9), the
    shading with its shadows under every one of nine basis lights (`ops.horizon.transfer`)."""
    return torch.cat([albedo * mask, mask, normal * mask, 2 * transfer * mask], 1)


def residual_of(raw: Tensor) -> Tensor:
    """F_R's output (B, 27): a residual (`ops.residual`) that cannot grow beyond LIMIT.
    Linear in the light by construction: what changes with the light is only what it is multiplied with."""
    return LIMIT * torch.tanh(raw)


def estimate_normals(network: UNet, image: NDArray[np.uint8], mask: F32, prior: F32) -> tuple[F32, F32]:
    """F_N on one photograph at the size given (128 to 256 px suit it): normals (H, W, 3) unit, and the error that the
    network expects of itself (H, W), degrees. image (H, W, 3) sRGB, mask (H, W) 0..1, prior (H, W, 3) or zeros."""
    guess = _tensor(prior)
    with torch.inference_mode():
        raw = network(normals_input(_tensor(image) / 255, _tensor(mask[..., None]), guess))
        normal, log_error = normals_of(raw, guess)
    return _array(normal), np.degrees(_array(log_error.exp())[..., 0])


def estimate_albedo(network: UNet, image: NDArray[np.uint8], mask: F32, normal: F32) -> F32:
    """F_A on one photograph: albedo (H, W, 3), sRGB 0..1. image (H, W, 3) sRGB, mask (H, W), normal (H, W, 3)."""
    picture, where = _tensor(image) / 255, _tensor(mask[..., None])
    with torch.inference_mode():
        return _array(albedo_of(network(albedo_input(picture, where, _tensor(normal))), picture))


def estimate_residual(network: UNet, albedo: F32, mask: F32, normal: F32, transfer: F32) -> F32:
    """F_R on one face (H, W, ...): the residual (H, W, 27). albedo (H, W, 3) linear, mask (H, W), normal (H, W, 3),
    transfer (H, W, 9)."""
    given = relight_input(_tensor(albedo), _tensor(mask[..., None]), _tensor(normal), _tensor(transfer))
    with torch.inference_mode():
        return _array(residual_of(network(given)))


def _tensor(array: NDArray[np.generic]) -> Tensor:
    """(H, W, C) -> (1, C, H, W) float32, channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).permute(2, 0, 1)[None]


def _array(tensor: Tensor) -> F32:
    return np.ascontiguousarray(tensor[0].permute(1, 2, 0).numpy(), np.float32)
