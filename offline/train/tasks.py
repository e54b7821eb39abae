"""The three things to learn: what a network is given, what is wanted of it, and how it is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from narrate_stream.nets import heads
from narrate_stream.nets.unet import UNet
from narrate_stream.ops.lighting import sh_basis, stage_directions
from offline.train import losses
from offline.train.augment import GREY, Dice, framed, photographed, untouched
from offline.train.data import Batch
from offline.train.warp import unit_or_zero

Numbers = dict[str, float]
SKIN = 1
ROBUST = 0.1  # shading: errors beyond count by their size, not its square
Panel = tuple[str, Tensor]  # caption, (B, 3, H, W) 0..1


class Normals:
    """F_N: normals from the photograph, its matte and the landmark-fit normals."""

    name = "normals"
    main = "mean"  # of the measured numbers, the one that the curve shows
    unit = "degrees"

    def prepare(self, maps: Batch, generator: torch.Generator | None) -> Batch:
        """`warp.warped` maps, photographed with all its mishaps (or, without a generator, plainly)."""
        return photographed(maps, generator) if generator is not None else untouched(maps)

    def predict(self, network: UNet, maps: Batch) -> Batch:
        """normal (B, 3, H, W), log_error (B, 1, H, W)."""
        raw = network(heads.normals_input(maps["image"], maps["mask"], maps["prior"])).float()
        normal, log_error = heads.normals_of(raw, maps["prior"])
        return {"normal": normal, "log_error": log_error}

    def loss(self, out: Batch, maps: Batch) -> Tensor:
        """Scalar."""
        weight = losses.label_weight(maps["label"], maps["valid"] * has_normal(maps["normal"]))
        return losses.normals_loss(out["normal"], out["log_error"], maps["normal"], weight)

    def measure(self, out: Batch, maps: Batch) -> Batch:
        """Per skin pixel, (N,) degrees: error of the network, of the prior (where there is one), and expected error."""
        at = skin(maps) & (has_normal(maps["normal"]) > 0)
        some = at & (has_normal(maps["prior"]) > 0)
        error = torch.rad2deg(losses.angle(out["normal"], maps["normal"]))
        prior = torch.rad2deg(losses.angle(maps["prior"], maps["normal"]))
        expected = torch.rad2deg(out["log_error"].exp())
        return {"error": error[at], "expected": expected[at], "prior": prior[some], "there": error[some]}

    def numbers(self, parts: Batch) -> Numbers:
        """Table 1 over the skin; the same of the prior; how well the expected error orders the real one."""
        out = losses.angle_numbers(parts["error"])
        out["prior_mean"] = float(parts["prior"].mean())
        out["mean_where_prior"] = float(parts["there"].mean())
        out["expected_mean"] = float(parts["expected"].mean())
        pairs = torch.stack([parts["error"], parts["expected"]])
        out["expected_correlation"] = float(torch.corrcoef(pairs)[0, 1])
        return out

    def panels(self, out: Batch, maps: Batch) -> list[Panel]:
        """input, prior, prediction, truth, error (black 0, white 45 degrees), expected error."""
        error = torch.rad2deg(losses.angle(out["normal"], maps["normal"])) / 45 * maps["valid"]
        expected = torch.rad2deg(out["log_error"].exp()) / 45 * maps["valid"]
        return [
            ("input", maps["image"] * maps["mask"]),
            ("prior", maps["prior"] / 2 + 0.5),
            ("network", (out["normal"] * maps["valid"]) / 2 + 0.5),
            ("truth", maps["normal"] / 2 + 0.5),
            ("error 0-45", error.expand(-1, 3, -1, -1)),
            ("expected", expected.expand(-1, 3, -1, -1)),
        ]


class Albedo:
    """F_A: albedo from the photograph and its normals."""

    name = "albedo"
    main = "rmse"
    unit = "sRGB RMSE"

    def prepare(self, maps: Batch, generator: torch.Generator | None) -> Batch:
        """As for the normals; the normals given lie between the truth and the landmark fit, as F_N's do."""
        out = photographed(maps, generator) if generator is not None else untouched(maps)
        truth, prior = maps["normal"], out["prior"]
        prior = torch.where(has_normal(prior) > 0, prior, truth)
        share = torch.full_like(prior[:, :1, :1, :1], 0.3)
        if generator is not None:
            dice = Dice(len(prior), generator, prior.device)
            share = dice.uniform(0, 0.7)
        out["given"] = unit_or_zero(torch.lerp(truth, prior, share))
        return out

    def predict(self, network: UNet, maps: Batch) -> Batch:
        """albedo (B, 3, H, W) sRGB-encoded."""
        raw = network(heads.albedo_input(maps["image"], maps["mask"], maps["given"])).float()
        return {"albedo": heads.albedo_of(raw, maps["image"])}

    def loss(self, out: Batch, maps: Batch) -> Tensor:
        """Scalar."""
        weight = losses.label_weight(maps["label"], maps["valid"])
        return losses.picture_loss(out["albedo"], maps["albedo"], weight)

    def measure(self, out: Batch, maps: Batch) -> Batch:
        """Skin pixels (N, 3) sRGB: albedo, truth, and the photograph itself."""
        at = skin(maps)[:, 0]
        rows = {"albedo": out["albedo"], "truth": maps["albedo"], "image": maps["image"]}
        return {name: values.permute(0, 2, 3, 1)[at] for name, values in rows.items()}

    def numbers(self, parts: Batch) -> Numbers:
        """RMSE sRGB; scale-invariant RMSE linear; of the network and of the photograph taken as albedo."""
        linear = {name: losses.linear_from_srgb(values) for name, values in parts.items()}
        return {
            "rmse": float((parts["albedo"] - parts["truth"]).square().mean().sqrt()),
            "scaled_rmse_linear": losses.scaled_rmse(linear["albedo"], linear["truth"]),
            "photograph_rmse": float((parts["image"] - parts["truth"]).square().mean().sqrt()),
            "photograph_scaled_rmse_linear": losses.scaled_rmse(linear["image"], linear["truth"]),
        }

    def panels(self, out: Batch, maps: Batch) -> list[Panel]:
        """input, given normals, prediction, truth, difference times 3."""
        difference = (out["albedo"] - maps["albedo"]).abs() * 3 * maps["valid"]
        return [
            ("input", maps["image"] * maps["mask"]),
            ("normals", maps["given"] / 2 + 0.5),
            ("network", out["albedo"] * maps["valid"]),
            ("truth", maps["albedo"] * maps["matte"]),
            ("error x3", difference),
        ]


class Relight:
    """F_R: what the physical path lacks under any light, from the estimates it works with (`lightstage.lacking`)."""

    name = "relight"
    main = "rmse"
    unit = "shading by a lamp of colour 1"

    def prepare(self, maps: Batch, generator: torch.Generator | None) -> Batch:
        """Linear albedo; in training of another colour, sometimes grey (then so is what skin throws on skin), and the
        picture cropped."""
        out = untouched(maps)
        albedo, residual = losses.linear_from_srgb(maps["albedo"]), maps["residual"]
        if generator is not None:
            dice = Dice(len(albedo), generator, albedo.device)
            frame = framed(maps, dice)
            out["mask"], out["valid"] = out["mask"] * frame, out["valid"] * frame
            albedo = albedo * torch.exp(dice.normal(0.15) + dice.normal(0.05, 3))
            grey = dice.happens(GREY)
            albedo = torch.where(grey, albedo.mean(1, keepdim=True), albedo)
            parts = by_colour(residual)
            residual = torch.where(grey[..., None], parts.mean(1, keepdim=True), parts).flatten(1, 2)
        out["linear_albedo"], out["residual"] = albedo, residual
        return out

    def predict(self, network: UNet, maps: Batch) -> Batch:
        """residual (B, 27, H, W)."""
        given = heads.relight_input(*(maps[name] for name in ("linear_albedo", "mask", "normal", "transfer")))
        return {"residual": heads.residual_of(network(given).float())}

    def loss(self, out: Batch, maps: Batch) -> Tensor:
        """Scalar: error of the shading under lamps all round, those in front most."""
        error = under_lamps(out["residual"] - maps["residual"])
        robust = torch.where(error.abs() < ROBUST, error.square() / ROBUST, 2 * error.abs() - ROBUST)
        return losses.mean(robust, (maps["label"] == SKIN) * maps["valid"])

    def measure(self, out: Batch, maps: Batch) -> Batch:
        """Per skin pixel (N,): squared error of the shading under lamps, with and without the network."""
        at = skin(maps)[:, 0]
        rows = {"error": out["residual"] - maps["residual"], "plain": maps["residual"]}
        return {name: under_lamps(values).square().mean(1)[at] for name, values in rows.items()}

    def numbers(self, parts: Batch) -> Numbers:
        """RMSE of the shading under a lamp of colour 1; `plain_`: the physical path alone."""
        error, plain = (float(parts[name].mean().sqrt()) for name in ("error", "plain"))
        return {"rmse": error, "plain_rmse": plain, "explained": 1 - (error / plain) ** 2}

    def panels(self, out: Batch, maps: Batch) -> list[Panel]:
        """albedo, and by how much shading under three lamps is off (grey: not) and corrected."""
        panels: list[Panel] = [("albedo", losses.srgb_from_linear(maps["linear_albedo"]).clamp(0, 1) * maps["valid"])]
        for name, d in (("front", (0.0, 0.0, 1.0)), ("right", (0.9, 0.0, 0.44)), ("above", (0.0, 0.9, 0.44))):
            basis = torch.from_numpy(math.pi * sh_basis(np.array(d))).float()
            for word, values in (("truth", maps["residual"]), ("network", out["residual"])):
                lit = torch.einsum("bckhw,k->bchw", by_colour(values), basis.to(values))
                panels.append((f"{name} {word}", (0.5 + 2 * lit * maps["valid"]).clamp(0, 1)))
        return panels


def under_lamps(residual: Tensor) -> Tensor:
    """(B, 27, H, W) residual in units of shading: the mean of the squares over the channels is that under lamps of
    colour 1 all round, those behind the head a quarter as often."""
    whole = LAMPS.to(residual)
    return 3 * torch.einsum("ij,bcjhw->bcihw", whole, by_colour(residual)).flatten(1, 2)


def by_colour(residual: Tensor) -> Tensor:
    """(B, 3, 9, H, W) of (B, 27, H, W)."""
    return residual.reshape(len(residual), 3, 9, *residual.shape[2:])


def lamp_root() -> Tensor:
    """(9, 9) square root of the mean of y y^T, y the coefficients of a lamp of colour 1 in a stage light's place."""
    lights = stage_directions()
    basis = np.pi * sh_basis(lights)
    weight = np.where(lights[:, 2] > -0.2, 1.0, 0.25)[:, None]
    values, vectors = np.linalg.eigh(basis.T @ (basis * weight) / weight.sum())
    return torch.from_numpy(np.sqrt(np.maximum(values, 0))[:, None] * vectors.T).float()


LAMPS = lamp_root()
Task = Normals | Albedo | Relight
TASKS: dict[str, type[Task]] = {"normals": Normals, "albedo": Albedo, "relight": Relight}


def skin(maps: Batch) -> Tensor:
    """(B, 1, H, W) bool: skin that the photograph shows."""
    return (maps["label"] == SKIN) & (maps["valid"] > 0)


def has_normal(normal: Tensor) -> Tensor:
    """(B, 1, H, W) 1 where there is one."""
    return (normal.square().sum(1, keepdim=True) > 0.25).float()


@dataclass(frozen=True)
class View:
    """One validation view: name, how the picture is cut, and the seed of its mishaps (None: as it is)."""

    name: str
    seed: int | None


VIEWS = (View("plain", None), View("hard", 7))


def joined(parts: list[Batch]) -> Batch:
    """The measured values of several batches, one after another."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
