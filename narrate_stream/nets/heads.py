"""What goes into the three networks and what their numbers mean; the same for training and for use.

Convention: images (B, C, H, W), normals unit vectors in camera space (x right, y up, z toward the viewer), mask 1 where
the photograph shows the person, everything zero where the mask is.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from narrate_stream.nets.unet import UNet

F32 = NDArray[np.float32]
TYPICAL = -1.6  # log radians (about 12 degrees): where the estimate of a normal's own error begins
PLAIN_GLOSS = 0.024  # reflectance of skin at normal incidence times how glossy it usually is


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


def relight_input(albedo: Tensor, mask: Tensor, normal: Tensor, diffuse: Tensor, specular: Tensor) -> Tensor:
    """F_R's input (B, 16): albedo linear (B, 3), mask (B, 1), normals (B, 3), light maps (B, 3) and (B, 6), linear."""
    return torch.cat([albedo * mask, mask, normal * mask, compressed(diffuse) * mask, compressed(specular) * mask], 1)


def unshadowed(albedo: Tensor, diffuse: Tensor, specular: Tensor) -> Tensor:
    """(B, 3) linear: the face under the light without shadow, scattering or bounce; albedo linear."""
    return albedo * diffuse + PLAIN_GLOSS * specular[:, 3:6]


def relit_of(raw: Tensor, base: Tensor) -> Tensor:
    """F_R's output (B, 6) on `unshadowed` (B, 3): relit, linear, 0 and up. Three channels dim or brighten what the
    light maps give (shadow), three add light of their own (under the skin, bounced, highlights)."""
    return base * raw[:, :3].clamp(-6, 1.5).exp() + F.softplus(raw[:, 3:] * 4 - 5) / 4


def compressed(light: Tensor) -> Tensor:
    """Linear radiance 0.. -> about 0..1 for light that exposes a face well, growing slowly beyond."""
    return torch.log1p(4 * light.clamp_min(0)) / 1.6094


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


def _tensor(array: NDArray[np.generic]) -> Tensor:
    """(H, W, C) -> (1, C, H, W) float32, channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).permute(2, 0, 1)[None]


def _array(tensor: Tensor) -> F32:
    return np.ascontiguousarray(tensor[0].permute(1, 2, 0).numpy(), np.float32)
