"""The three things to learn: what a network is given, what is wanted of it, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from narrate_stream.nets import heads
from narrate_stream.nets.shading import light_table, looked_up
from narrate_stream.nets.unet import UNet
from offline.train import losses
from offline.train.augment import Dice, jittered_prior, photographed, untouched
from offline.train.data import Batch
from offline.train.warp import unit_or_zero

Numbers = dict[str, float]
SKIN = 1
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
    """F_R: the face under a light, from albedo, normals and the light's maps without shadow."""

    name = "relight"
    main = "psnr"
    unit = "dB"

    def prepare(self, maps: Batch, generator: torch.Generator | None) -> Batch:
        """Light maps at the picture's exposure; in training albedo and normals are a little wrong, as they will be."""
        out = untouched(maps)
        table = light_table(maps["light"], maps["directions"])
        diffuse, specular = looked_up(table, maps["normal"])
        truth = losses.linear_from_srgb(maps["albedo"])
        gain = exposure(maps, heads.unshadowed(truth, diffuse, specular))
        if generator is not None:
            dice = Dice(len(truth), generator, truth.device)
            wrong = jittered_prior(maps["normal"], dice)
            wrong = torch.where(has_normal(wrong) > 0, wrong, maps["normal"])
            given = unit_or_zero(torch.lerp(maps["normal"], wrong, dice.uniform(0, 0.8)))
            diffuse, specular = looked_up(table, given)
            out["normal"] = given
            truth = truth * torch.exp(dice.normal(0.05, 3))
        out["linear_albedo"], out["diffuse"], out["specular"] = truth, diffuse * gain, specular * gain
        out["base"] = heads.unshadowed(truth, out["diffuse"], out["specular"]) * out["mask"]
        return out

    def predict(self, network: UNet, maps: Batch) -> Batch:
        """relit (B, 3, H, W), linear and sRGB-encoded (clipped at 1 where the truth is)."""
        parts = [maps[name] for name in ("linear_albedo", "mask", "normal", "diffuse", "specular")]
        linear = heads.relit_of(network(heads.relight_input(*parts)).float(), maps["base"])
        return {"relit": shown(linear, maps["image"]), "linear": linear}

    def loss(self, out: Batch, maps: Batch) -> Tensor:
        """Scalar, in sRGB."""
        weight = losses.label_weight(maps["label"], maps["valid"])
        return losses.picture_loss(out["relit"], maps["image"], weight)

    def measure(self, out: Batch, maps: Batch) -> Batch:
        """Per picture (B,): squared error and SSIM in sRGB within the matte, of the network and of the maps alone."""
        plain = losses.srgb_from_linear(maps["base"]).clamp(0, 1)
        relit, valid = out["relit"].clamp(0, 1), maps["valid"]
        parts: dict[str, list[Tensor]] = {}
        for i in range(len(relit)):
            here = slice(i, i + 1)
            for name, picture in (("", relit), ("plain_", plain)):
                error = losses.mean((picture[here] - maps["image"][here]).square(), valid[here])
                parts.setdefault(name + "error", []).append(error)
                parts.setdefault(name + "ssim", []).append(losses.ssim(picture[here], maps["image"][here], valid[here]))
        return {name: torch.stack(values) for name, values in parts.items()}

    def numbers(self, parts: Batch) -> Numbers:
        """Mean PSNR (dB), SSIM and RMSE over pictures; `plain_`: the light maps without a network."""
        out: Numbers = {}
        for name in ("", "plain_"):
            error = parts[name + "error"].clamp_min(1e-8)
            out[name + "psnr"] = float((-10 * error.log10()).mean())
            out[name + "rmse"] = float(error.sqrt().mean())
            out[name + "ssim"] = float(parts[name + "ssim"].mean())
        return out

    def panels(self, out: Batch, maps: Batch) -> list[Panel]:
        """albedo, light without shadow, prediction, truth, difference times 3."""
        valid = maps["valid"]
        return [
            ("albedo", maps["albedo"] * valid),
            ("no shadow", losses.srgb_from_linear(maps["base"]) * valid),
            ("network", out["relit"] * valid),
            ("truth", maps["image"] * valid),
            ("error x3", (out["relit"] - maps["image"]).abs() * 3 * valid),
        ]


Task = Normals | Albedo | Relight
TASKS: dict[str, type[Task]] = {"normals": Normals, "albedo": Albedo, "relight": Relight}


def skin(maps: Batch) -> Tensor:
    """(B, 1, H, W) bool: skin that the photograph shows."""
    return (maps["label"] == SKIN) & (maps["valid"] > 0)


def has_normal(normal: Tensor) -> Tensor:
    """(B, 1, H, W) 1 where there is one."""
    return (normal.square().sum(1, keepdim=True) > 0.25).float()


def exposure(maps: Batch, plain: Tensor) -> Tensor:
    """(B, 1, 1, 1) gain from the stage's light to the photograph: the upper part of what the lit skin shows,
    over what it would show without shadow (`plain`, linear). The stage exposes its pictures and keeps the light as it
    was before."""
    linear = losses.linear_from_srgb(maps["image"])
    base, seen = plain.mean(1), linear.mean(1)
    usable = (maps["label"][:, 0] == SKIN) & (maps["matte"][:, 0] > 0.9) & (linear.amax(1) < 0.97)
    gains = []
    for b, s, u in zip(base, seen, usable, strict=True):
        lit = u & (b > 0.3 * torch.where(u, b, 0).amax())
        gains.append((s[lit] / b[lit].clamp_min(1e-6)).quantile(0.75) if lit.any() else b.new_tensor(1.0))
    return torch.stack(gains).view(-1, 1, 1, 1)


def shown(linear: Tensor, truth: Tensor) -> Tensor:
    """sRGB-encoded, unclipped where the truth is not (so that too bright is still corrected), clipped where it is."""
    srgb = losses.srgb_from_linear(linear)
    return torch.where(truth > 0.99, srgb.clamp_max(1.0), srgb)


@dataclass(frozen=True)
class View:
    """One validation view: name, how the picture is cut, and the seed of its mishaps (None: as it is)."""

    name: str
    seed: int | None


VIEWS = (View("plain", None), View("hard", 7))


def joined(parts: list[Batch]) -> Batch:
    """The measured values of several batches, one after another."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
