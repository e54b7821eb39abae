"""What cameras, files, painters and croppers do to a photograph, on whole batches: hard enough that a network which has
seen only the stage meets a real photograph without surprise.

A step takes what it changes and a `torch.Generator` (on the CPU, so that a run repeats on every device).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from offline.train.data import Batch
from offline.train.warp import unit_or_zero

SKIN = 1
GREY, TIGHT, ERASED, PAINTED, SOFT, SMALL, JPEG, NO_MATTE, OVEREXPOSED = (
    0.35,
    0.4,
    0.12,
    0.05,
    0.15,
    0.15,
    0.25,
    0.1,
    0.1,
)
SMALLEST = 40  # pixels that a small original keeps
PRIOR_TURN = math.radians(6)
PRIOR_LOST = 0.45  # or the network would lean on them and hardly look at the photograph


class Dice:
    """Random numbers of one batch, drawn on the CPU and brought to the device."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device | str) -> None:
        self.count, self.generator, self.device = count, generator, device

    def uniform(self, low: float, high: float, channels: int = 1) -> Tensor:
        """(B, channels, 1, 1)."""
        u = torch.rand((self.count, channels, 1, 1), generator=self.generator)
        return (u * (high - low) + low).to(self.device)

    def normal(self, sigma: float, channels: int = 1) -> Tensor:
        """(B, channels, 1, 1)."""
        return (torch.randn((self.count, channels, 1, 1), generator=self.generator) * sigma).to(self.device)

    def noise(self, channels: int, height: int, width: int) -> Tensor:
        """(B, channels, height, width) normal."""
        return torch.randn((self.count, channels, height, width), generator=self.generator).to(self.device)

    def happens(self, chance: float) -> Tensor:
        """(B, 1, 1, 1) bool."""
        return self.uniform(0, 1) < chance

    def some(self, chance: float) -> Tensor:
        """Indices of the samples that it happens to."""
        return self.happens(chance).flatten().nonzero().flatten()

    def chosen(self, which: Tensor) -> Dice:
        """Dice for these samples only."""
        return Dice(len(which), self.generator, self.device)

    def number(self, low: float, high: float) -> float:
        """One for the whole batch."""
        return float(torch.rand((), generator=self.generator)) * (high - low) + low


def photographed(maps: Batch, generator: torch.Generator) -> Batch:
    """`warp.warped` maps plus: image as a photograph (B, 3), mask (B, 1) of what the network is told to be the person,
    valid (B, 1) where the truth counts, prior jittered."""
    image = maps["image"]
    dice = Dice(len(image), generator, image.device)
    matte = maps["matte"]
    frame = framed(maps, dice)
    mask = believed_matte(matte, dice) * frame
    image = behind(image, matte, dice)
    image = damaged(toned(image, dice), dice)
    out = dict(maps)
    out["image"] = greyed(image, dice).clamp(0, 1)
    out["mask"] = mask
    out["valid"] = (matte > 0.9).float() * frame * (mask > 0.5)
    if "prior" in maps:
        out["prior"] = jittered_prior(maps["prior"], dice)
    return out


def untouched(maps: Batch) -> Batch:
    """The same maps without any damage: the plain validation."""
    mask = maps["matte"] * maps["inside"]
    return {**maps, "mask": mask, "valid": (mask > 0.9).float()}


def framed(maps: Batch, dice: Dice) -> Tensor:
    """(B, 1, H, W) 1 inside the photograph: sometimes a rectangle tight around the face, sometimes with holes."""
    height, width = maps["label"].shape[-2:]
    face = maps["label"] == SKIN
    frame = maps["inside"].clone()
    rows, columns = span(face.any(3)[:, 0], dice, height), span(face.any(2)[:, 0], dice, width)
    rectangle = rows[:, None, :, None] & columns[:, None, None, :]
    frame = torch.where(dice.happens(TIGHT) & face.flatten(1).any(1).view(-1, 1, 1, 1), frame * rectangle, frame)
    for chance in (ERASED, ERASED / 2):
        hole = patch(dice, height, width)
        frame = torch.where(dice.happens(chance), frame * ~hole, frame)
    return frame


def span(present: Tensor, dice: Dice, length: int) -> Tensor:
    """(B, length) bool: from the first to the last True of `present` (B, length), widened by -8% to 15%."""
    first = present.int().argmax(1).float()
    last = length - 1 - present.flip(1).int().argmax(1).float()
    margin = dice.uniform(-0.08, 0.15, 2).view(-1, 2) * (last - first)[:, None]
    at = torch.arange(length, device=present.device)[None]
    return (at >= (first - margin[:, 0])[:, None]) & (at <= (last + margin[:, 1])[:, None])


def patch(dice: Dice, height: int, width: int) -> Tensor:
    """(B, 1, height, width) bool: one random rectangle, 8% to 35% of the sides."""
    centre, half = dice.uniform(0.1, 0.9, 2), dice.uniform(0.04, 0.17, 2)
    y = torch.arange(height, device=centre.device).view(1, 1, -1, 1) / height
    x = torch.arange(width, device=centre.device).view(1, 1, 1, -1) / width
    return ((y - centre[:, :1]).abs() < half[:, :1]) & ((x - centre[:, 1:]).abs() < half[:, 1:])


def believed_matte(matte: Tensor, dice: Dice) -> Tensor:
    """The matte as a segmenter gives it: edges moved, wavy and soft; now and then none at all (all is subject)."""
    height, width = matte.shape[-2:]
    soft = F.avg_pool2d(matte, 5, 1, 2, count_include_pad=False)
    waves = grown(dice.noise(1, 8, 8), height, width) * 0.25
    edge = (soft + waves * (soft * (1 - soft) * 4) - dice.uniform(0.3, 0.6)) / dice.uniform(0.1, 0.6) + 0.5
    return torch.where(dice.happens(NO_MATTE), torch.ones_like(matte), edge.clamp(0, 1))


def grown(small: Tensor, height: int, width: int) -> Tensor:
    """A smooth field from a small one."""
    return F.interpolate(small, (height, width), mode="bicubic", align_corners=False)


def behind(image: Tensor, matte: Tensor, dice: Dice) -> Tensor:
    """Another background for most: one colour, a gradient, clouds, or the neighbour in the batch."""
    height, width = image.shape[-2:]
    colour = dice.uniform(0, 1, 3)
    line = torch.linspace(-1, 1, height, device=image.device).view(1, 1, -1, 1)
    gradient = colour + line * dice.normal(0.3, 3)
    clouds = colour + grown(dice.noise(3, 6, 6), height, width) * 0.3
    kind = dice.uniform(0, 1)
    scene = torch.where(kind < 0.25, colour, torch.where(kind < 0.5, gradient, clouds))
    scene = torch.where(kind > 0.8, image.roll(1, 0), scene).clamp(0, 1)
    return torch.where(dice.happens(0.65), image * matte + scene * (1 - matte), image)


def toned(image: Tensor, dice: Dice) -> Tensor:
    """Exposure, white balance and gamma in linear light with one power, then contrast and a film curve."""
    gamma = torch.exp(dice.normal(0.18))
    gain = torch.exp(dice.normal(0.25) + dice.normal(0.1, 3))
    gain = torch.where(dice.happens(OVEREXPOSED), gain * dice.uniform(1.2, 1.9), gain)
    x = (image.clamp_min(1e-3) ** gamma * gain).clamp(0, 1)
    x = (x - 0.5) * torch.exp(dice.normal(0.15)) + 0.5 + dice.normal(0.04)
    return (x - dice.uniform(-0.5, 0.7) * torch.sin(2 * math.pi * x) / (2 * math.pi)).clamp(0, 1)


def damaged(image: Tensor, dice: Dice) -> Tensor:
    """Paint, blur, few pixels, sensor noise, JPEG: each on some samples."""
    image = image.clone()
    for chance, change in ((PAINTED, painted), (SOFT, softened), (SMALL, shrunk)):
        which = dice.some(chance)
        if len(which):
            image[which] = change(image[which], dice.chosen(which))
    image = noisy(image, dice)
    which = dice.some(JPEG)
    if len(which):
        image[which] = jpeg(image[which], dice.chosen(which))
    return image


def painted(image: Tensor, dice: Dice) -> Tensor:
    """Flat strokes: the median of a neighbourhood, and fewer tones."""
    _, _, height, width = image.shape
    around = F.unfold(F.pad(image, (2, 2, 2, 2), mode="replicate"), 5).view(len(image), 3, 25, height * width)
    flat = around.median(2).values.view(image.shape)
    tones = dice.uniform(8, 40)
    return torch.lerp(flat, (flat * tones).round() / tones, dice.uniform(0, 0.8))


def softened(image: Tensor, dice: Dice) -> Tensor:
    """Gaussian blur, sigma 0.5 to 2 px for each sample."""
    sigma = dice.uniform(0.5, 2.0).view(-1, 1)
    at = torch.arange(-4, 5, device=image.device)
    kernel = torch.exp(-at.square() / (2 * sigma.square()))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = F.pad(image, (4, 4, 4, 4), mode="replicate").reshape(1, -1, image.shape[2] + 8, image.shape[3] + 8)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=len(kernel))
    return F.conv2d(flat, kernel[:, None, None, :], groups=len(kernel)).view(image.shape)


def shrunk(image: Tensor, dice: Dice) -> Tensor:
    """Few pixels, enlarged again."""
    size = round(dice.number(SMALLEST, 100) * image.shape[-1] / 128)
    small = F.interpolate(image, size=(size, size), mode="area")
    return F.interpolate(small, size=image.shape[-2:], mode="bilinear", align_corners=False)


def noisy(image: Tensor, dice: Dice) -> Tensor:
    """Read noise and light-dependent noise; half of the samples have next to none."""
    strength = torch.where(dice.happens(0.5), dice.uniform(0, 1), dice.uniform(0, 0.1))
    read, shot = strength * dice.uniform(0, 0.05), strength * dice.uniform(0, 0.08)
    return image + dice.noise(3, *image.shape[-2:]) * (read + shot * image.clamp_min(0).sqrt())


def jpeg(image: Tensor, dice: Dice) -> Tensor:
    """Eight by eight cosine blocks rounded as in a JPEG of quality about 15 to 80, luma and chroma apart."""
    height, width = image.shape[-2:]
    mix = image.new_tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
    padded = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
    ycc = torch.einsum("kc,bchw->bkhw", mix, padded)
    b, _, h, w = ycc.shape
    cosines = cosine_basis(image.device)
    blocks = ycc.reshape(b, 3, h // 8, 8, w // 8, 8).transpose(3, 4)
    spectrum = cosines @ blocks @ cosines.T
    k = torch.arange(8, device=image.device)
    step = (16 + 9.0 * (k[:, None] + k[None])) / 255 * dice.uniform(0.3, 2.5)[..., None, None]
    step = step * image.new_tensor([1, 1.6, 1.6]).view(1, 3, 1, 1, 1, 1)
    blocks = cosines.T @ ((spectrum / step).round() * step) @ cosines
    back = torch.linalg.inv(mix)
    return torch.einsum("ck,bkhw->bchw", back, blocks.transpose(3, 4).reshape(b, 3, h, w))[..., :height, :width]


def cosine_basis(device: torch.device | str) -> Tensor:
    """(8, 8) orthonormal DCT-II."""
    k = torch.arange(8, device=device).float()
    basis = torch.cos(math.pi / 8 * (k[None] + 0.5) * k[:, None]) * 0.5
    basis[0] /= math.sqrt(2)
    return basis


def greyed(image: Tensor, dice: Dice) -> Tensor:
    """Some in grey, each with its own film (mix of the channels)."""
    mix = dice.uniform(0.1, 1, 3)
    grey = (image * mix).sum(1, keepdim=True) / mix.sum(1, keepdim=True)
    return torch.where(dice.happens(GREY), grey, image)


def jittered_prior(prior: Tensor, dice: Dice) -> Tensor:
    """Landmark-fit normals (B, 3, H, W) as wrong as they are on photographs: turned, moved, blurred, sometimes none."""
    axis = dice.normal(1, 3)
    axis = F.normalize(axis, dim=1) * dice.uniform(0, PRIOR_TURN)
    turned = prior + torch.linalg.cross(axis.expand_as(prior), prior, dim=1)  # small angle
    moved = turned.roll((round(dice.number(-2, 2)), round(dice.number(-2, 2))), (2, 3))
    soft = F.avg_pool2d(moved, 5, 1, 2)
    prior = unit_or_zero(torch.where(dice.happens(0.3), soft, torch.where(dice.happens(0.5), moved, turned)))
    return prior * ~dice.happens(PRIOR_LOST)
