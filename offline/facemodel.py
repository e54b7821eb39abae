"""The canonical face in torch: pose, shape, albedo and light as functions that gradients pass through.

Convention: camera space, cm (x right, y up, z toward the viewer, the camera at the origin looking along -z). Colours
are linear and relative: 1 = the mean level of the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import linear_table, luminance
from narrate_stream.ops.facefit import EXPRESSION_PRIOR, IDENTITY_PRIOR, NOISE, FaceFit
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import COSINE, RIDGE, fit_sh
from narrate_stream.types import Image

if TYPE_CHECKING:
    from torch import Tensor

F64 = NDArray[np.float64]
LANDMARKS = 468
PIXELS = 400.0  # how many independent measurements the picture of a face counts as
SIGMA, KNEE = 0.08, 0.1  # expected error of the rendering, and where it counts as an outlier
EVEN, MIRRORED = 1000.0, 3000.0  # how smooth, and how like its other half, the logarithm of the albedo is to be
MARGIN = 0.08  # of the face's size, left free around it
# 1; y; z; x; xy; yz; 3z^2 - 1; xz; x^2 - y^2 with Lambert's cosine: see `sh_basis`
HARMONICS = COSINE * [0.2820948, *[0.4886025] * 3, *[1.0925484] * 2, 0.3153916, 1.0925484, 0.5462742]


@dataclass(frozen=True)
class Target:
    """What is to be matched: colour (h, w, 3) linear, 1 = the face's mean luminance; its camera; marks (468, 2) pixels
    of it, or None; unit: expected error of a landmark, iod: distance between the outer eye corners, pixels;
    level: linear luminance that is 1 in `colour`."""

    colour: NDArray[np.float32]
    camera: Camera
    marks: F64 | None
    unit: float
    iod: float
    level: float

    @property
    def size(self) -> tuple[int, int]:
        """(w, h) pixels."""
        return self.colour.shape[1], self.colour.shape[0]


def face_target(image: Image, around: F64, marks: F64 | None, camera: Camera, side: int) -> Target:
    """The face cut out (by the pixels `around` (N, 2)) and brought to `side` pixels. image: (H, W, 3) sRGB."""
    import cv2

    low, high = around.min(0), around.max(0)
    span = float(max(high - low)) * (1 + 2 * MARGIN)
    x0, y0 = np.maximum(np.floor((low + high - span) / 2), 0).astype(int)
    x1, y1 = np.minimum(np.ceil((low + high + span) / 2).astype(int) + 1, image.shape[1::-1])
    if min(x1 - x0, y1 - y0) < 8:
        raise NarrateError("the face lies outside the picture")
    scale = side / max(x1 - x0, y1 - y0)
    small = round((x1 - x0) * scale), round((y1 - y0) * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    colour = cv2.resize(linear_table()[image[y0:y1, x0:x1]], small, interpolation=how)
    moved = camera.scaled(scale, (0.5 - x0) * scale - 0.5, (0.5 - y0) * scale - 0.5)
    own = ((around if marks is None else marks) - [x0, y0] + 0.5) * scale - 0.5
    iod = float(np.linalg.norm(own[33] - own[263]) + 1e-9)
    at = np.clip(np.round(own).astype(int), 0, np.array(small) - 1)
    level = float(np.median(luminance(colour)[at[:, 1], at[:, 0]])) + 1e-4
    unit = NOISE * max(iod, 0.3 * float(np.ptp(own[:, 1])))
    return Target(np.asarray(colour / level, np.float32), moved, None if marks is None else own, unit, iod, level)


class FaceModel:
    """The canonical face as a function of what is to be found, in torch; starts at a pose and the average shape."""

    def __init__(self, fit: FaceFit, albedo: F64 | None) -> None:
        import torch

        def tensor(a: Any) -> Tensor:
            return torch.as_tensor(np.asarray(a), dtype=torch.float32)

        face = canonical()
        self.triangles = torch.as_tensor(face.triangles.astype(np.int64))
        self.mean, self.rotation, self.start = (
            tensor(a) for a in (face.landmarks[:LANDMARKS], fit.rotation, fit.translation)
        )
        self.identities, self.expressions = tensor(face.identity[:, :LANDMARKS]), tensor(face.expression[:, :LANDMARKS])
        self.mirror = torch.as_tensor(face.mirror[:LANDMARKS].astype(np.int64))
        edges = np.sort(face.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
        self.edges = torch.as_tensor(np.unique(edges, axis=0).astype(np.int64))
        self.known = albedo is not None
        self.free = {
            "turn": torch.zeros(3),
            "shift": torch.zeros(3),
            "identity": torch.zeros(len(face.identity)),
            "expression": torch.zeros(len(face.expression)),
            "albedo": torch.zeros(LANDMARKS, 3) if albedo is None else tensor(np.log(np.maximum(albedo, 1e-3))),
        }
        for name, value in self.free.items():
            value.requires_grad_(not (self.known and name == "albedo"))

    def pose(self) -> tuple[Tensor, Tensor]:
        """camera_from_head rotation (3, 3) and translation (3,). The turn is about the middle of the face: about the
        head's origin, 10 cm behind, it would look like a shift, and a descent would have to find out."""
        import torch

        x, y, z = self.free["turn"]
        o = torch.zeros(())
        cross = torch.stack([torch.stack([o, -z, y]), torch.stack([z, o, -x]), torch.stack([-y, x, o])])
        rotation = torch.linalg.matrix_exp(cross) @ self.rotation
        return rotation, self.start + self.free["shift"] + (self.rotation - rotation) @ self.mean.mean(0)

    def vertices(self) -> Tensor:
        """(468, 3) camera space, cm."""
        import torch

        shape = self.mean + torch.einsum("k,kvc->vc", self.free["identity"], self.identities)
        shape = shape + torch.einsum("k,kvc->vc", self.free["expression"], self.expressions)
        rotation, translation = self.pose()
        return shape @ rotation.T + translation

    def normals(self, vertices: Tensor) -> Tensor:
        """(468, 3) unit, area-weighted."""
        import torch

        a, b, c = (vertices[self.triangles[:, k]] for k in range(3))
        face = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(vertices)
        for k in range(3):
            total = total.index_add(0, self.triangles[:, k], face)
        return torch.nn.functional.normalize(total, dim=-1)

    def project(self, vertices: Tensor, camera: Camera) -> Tensor:
        """(468, 2) pixels."""
        import torch

        across, up = camera.focal * vertices[:, :2].T / -vertices[:, 2]
        return torch.stack([camera.cx + across, camera.cy - up], -1)

    def priors(self, target: Target) -> tuple[Tensor, float]:
        """The loss of landmarks, coefficients and albedo; and the landmarks' rms error in interocular distances."""
        import torch

        loss = 0.5 * (self.free["identity"] / IDENTITY_PRIOR).square().sum()
        loss = loss + 0.5 * (self.free["expression"] / EXPRESSION_PRIOR).square().sum()
        if not self.known:
            a = self.free["albedo"]
            loss = loss + EVEN * (a[self.edges[:, 0]] - a[self.edges[:, 1]]).square().mean()
            loss = loss + MIRRORED * (a - a[self.mirror]).square().mean()
        if target.marks is None:
            return loss, 0.0
        away = self.project(self.vertices(), target.camera) - torch.as_tensor(target.marks, dtype=torch.float32)
        # landmarks are not independent: `fit_face` counts them as a tenth of their number, and so does this
        loss = loss + 0.5 * (0.3 * away / target.unit).square().sum()
        return loss, float(away.detach().square().sum(-1).mean().sqrt()) / target.iod

    def value(self, name: str) -> F64:
        """One of the free parameters, in numpy."""
        return np.asarray(self.free[name].detach().double().numpy())

    def fit(self, landmarks: F64 | None, camera: Camera, error: float) -> FaceFit:
        """What was found as `fit_face` gives it: with landmarks (478, >= 2) every point lies under its own pixel."""
        rotation, translation = (a.detach().double().numpy() for a in self.pose())
        vertices = self.vertices().detach().double().numpy()
        points = np.concatenate([vertices, canonical().landmarks[LANDMARKS:] @ rotation.T + translation])
        if landmarks is not None:
            for iris, (a, b) in ((slice(468, 473), (33, 133)), (slice(473, 478), (362, 263))):
                points[iris, 2] = (points[a, 2] + points[b, 2]) / 2
            points = camera.unproject(np.asarray(landmarks[:, :2], np.float64), points[:, 2])
        return FaceFit(rotation, translation, points, error)


def basis_of(normals: Tensor) -> Tensor:
    """(..., 9) what each coefficient of light gives to the shading of unit normals (..., 3): `sh_basis` in torch."""
    import torch

    x, y, z = normals.unbind(-1)
    terms = torch.stack([torch.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)
    return terms * torch.tensor(HARMONICS, dtype=torch.float32)


def solve_light(colour: Tensor, albedo: Tensor, basis: Tensor, weight: Tensor) -> Tensor:
    """(9,) light with albedo * (basis @ light) = colour (N, 3) in robust least squares; basis (N, 9), weight (N,)."""
    import torch

    rows = (albedo[..., None] * basis[:, None]).reshape(-1, 9)
    wanted, weight = colour.reshape(-1), weight.repeat_interleave(3)
    trust, light = weight, torch.zeros(9)
    held = torch.as_tensor(RIDGE, dtype=torch.float32) * 0.02  # weaker than `fit_sh`: the albedo is not even here
    for _ in range(5):
        a = rows * trust[:, None]
        ridge = held * float((trust * albedo.reshape(-1).square()).sum()) + 1e-6
        light = torch.linalg.solve(a.T @ rows + torch.diag(ridge), a.T @ wanted)
        trust = weight * (KNEE / (wanted - rows @ light).abs().clamp(min=KNEE))
    return light


def misfit(away: Tensor, weight: Tensor) -> tuple[Tensor, float]:
    """The photometric loss of differences (N, 3) in colour with weights (N,), robust; and their mean absolute value."""
    import torch

    share = (weight / weight.sum())[:, None] / 3
    huber = torch.nn.functional.huber_loss(away, torch.zeros_like(away), reduction="none", delta=KNEE)
    return PIXELS * (share * huber).sum() / SIGMA**2, float((share * away.detach().abs()).sum())


def settle(model: FaceModel, target: Target) -> None:
    """Pose and shape by landmarks and priors alone: where the picture takes over."""
    import torch

    moved = [value for name, value in model.free.items() if name != "albedo"]
    optimiser = torch.optim.LBFGS(moved, max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss, _ = model.priors(target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]


def first_albedo(model: FaceModel, target: Target) -> None:
    """The picture's colours at the vertices, freed from a first estimate of the light, evened out and mirrored."""
    import torch

    with torch.no_grad():
        vertices = model.vertices()
        normal, pixel = model.normals(vertices), model.project(vertices, target.camera)
        w, h = target.size
        at = pixel.round().long().clamp(min=0).minimum(torch.tensor([w - 1, h - 1]))
        colour = torch.as_tensor(target.colour)[at[:, 1], at[:, 0]]
        seen = normal[:, 2] > 0.3
        light = fit_sh(luminance(colour[seen].numpy()).astype(np.float64), normal[seen].double().numpy())
        shading = (basis_of(normal) @ torch.as_tensor(light, dtype=torch.float32)).clamp(min=0.15)
        value, weight = (colour / shading[:, None]).clamp(0.02, 5).log(), seen.float()[:, None] + 1e-4
        i, j = torch.cat([model.edges, model.edges.flip(1)]).T
        for _ in range(6):
            total, count = value * weight, weight.clone()
            total = total + total[model.mirror] + torch.zeros_like(total).index_add(0, i, (value * weight)[j])
            count = count + count[model.mirror] + torch.zeros_like(count).index_add(0, i, weight[j])
            value, weight = total / count, count / count.max()
        model.free["albedo"].copy_(value)
