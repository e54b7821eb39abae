"""Light maps of F_R: diffuse and specular images of the target light on given normals, without shadows
(Total Relighting 3.3). The view is orthographic along -z, as for the light stage's own highlights."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

ROUGHNESS = (0.4, 0.6)
GRID = 64  # light is asked at GRID x GRID normals and read between them; the lobes are wider than its cells
REACH = 1.3  # half width of the grid on the stereographic plane: normals up to 15 degrees beyond the outline
SEEN = 0.05  # least cosine toward the viewer, as on the stage


def light_maps(normal: Tensor, light: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Diffuse (B, 3, H, W) and specular (B, 6, H, W; RGB of ROUGHNESS[0], RGB of ROUGHNESS[1]) light, linear.

    normal (B, 3, H, W); light (B, L, 3) radiance times solid angle, linear; directions (B, L, 3) unit, toward the
    light. Diffuse is irradiance / pi (albedo * diffuse = radiance); specular lacks the reflectance (0.04 for skin)."""
    return looked_up(light_table(light, directions), normal)


def light_table(light: Tensor, directions: Tensor) -> Tensor:
    """(B, 9, GRID, GRID): `shaded` of the grid's normals."""
    at = grid_normals(light.device).expand(len(light), -1, -1)
    return shaded(at, light, directions).transpose(1, 2).reshape(len(light), -1, GRID, GRID)


def looked_up(table: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
    """The table (B, 9, GRID, GRID) at normals (B, 3, H, W): diffuse (B, 3, H, W), specular (B, 6, H, W)."""
    where = normal[:, :2] / (1 + normal[:, 2:3]).clamp_min(0.2) / REACH
    grid = where.permute(0, 2, 3, 1)
    maps = F.grid_sample(table, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return maps[:, :3], maps[:, 3:]


def grid_normals(device: torch.device | str = "cpu") -> Tensor:
    """(GRID * GRID, 3) unit normals of the stereographic grid, rows of growing y."""
    line = torch.linspace(-REACH, REACH, GRID, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    r = x * x + y * y
    return (torch.stack([2 * x, 2 * y, 1 - r], -1) / (1 + r)[..., None]).reshape(-1, 3)


def shaded(normal: Tensor, light: Tensor, directions: Tensor) -> Tensor:
    """(B, P, 9): diffuse RGB, then specular RGB per roughness, of normals (B, P, 3); the reference of `light_maps`."""
    cosine = torch.bmm(normal, directions.transpose(1, 2)).clamp_min(0)
    half = F.normalize(directions + directions.new_tensor([0, 0, 1]), dim=-1)
    nh = torch.bmm(normal, half.transpose(1, 2)).clamp(0, 1)
    rise = (1 + 24 * (1 - half[..., 2]).clamp_min(0) ** 5)[:, None]  # Schlick at 0.04
    parts = [torch.bmm(cosine, light) / math.pi]
    for roughness in ROUGHNESS:
        parts.append(torch.bmm(_ggx(nh, cosine, normal[..., 2:3].clamp_min(SEEN), roughness) * rise, light))
    return torch.cat(parts, -1)


def _ggx(nh: Tensor, nl: Tensor, nv: Tensor, roughness: float) -> Tensor:
    """GGX lobe times cosine, without reflectance: as `offline.lightstage.light.ggx`."""
    a2, k = roughness**4, roughness**2 / 2
    lobe = a2 / (math.pi * (nh * nh * (a2 - 1) + 1) ** 2)
    return lobe * nl / (4 * (nl * (1 - k) + k) * (nv * (1 - k) + k))
