"""The brute-force reference: a model's own surface, with light traced instead of baked, tabled and compressed.

What it shades is what the relighter shades: the atlas' albedo, normals and gloss on the posed mesh. What it includes:

- direct light of every lamp, sky and environment map, 256 directions a point divided among them by their power, by
  rays against the posed mesh (hair and clothes as the mesh has them, a triangle stops light where the matte covers
  it): penumbras, occlusion of the sky;
- skin as `offline.evaluate.material` has it, sample by sample: the cosine with its red wrap, where what comes from
  below the horizon of the mesh is traced along the horizon, since it has come in beside the point; the highlight, for
  the true direction of the viewer, of lamps and of an environment map's own pixels alike, behind the same rays (a sky
  of harmonics has none, as in the relighter);
- one bounce as one constant, by the relighter's definition (OWN_VIEW of what the face and neck throw back), from the
  reference's own light;
- the relighter's tone curve, so that pictures can be compared as they are seen.

It needs a model, the view of a `Renderer` and a LIGHT: nothing of how the relighter works inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import LightError
from narrate_stream.laying import kneed
from narrate_stream.lights import map_of, parse_light, read_radiance
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.environment import environment
from narrate_stream.ops.grading import turned_map
from narrate_stream.ops.lighting import EXTENT, Lighting, decode_normals
from narrate_stream.renderer import gather
from narrate_stream.shading import OWN_VIEW
from offline.evaluate.emitters import Emitter, Environment, Lamp, Sky, lamps_of, shares, squares
from offline.evaluate.material import LOBE, diffuse_response, highlight_response
from offline.evaluate.rays import AWAY, Places, PosedMesh, lifted

F64 = NDArray[np.float64]
SAMPLES = 256  # directions per point
CHUNK = 1024  # points at a time, for memory


@dataclass(frozen=True)
class Shone:
    """Of N points, linear RGB each (N, 3): diffuse shading (irradiance / pi), highlight for gloss 1, and both as they
    would be with nothing in the way."""

    diffuse: F64
    shine: F64
    open_diffuse: F64
    open_shine: F64

    def unhidden(self) -> Shone:
        """With nothing in the way."""
        return Shone(self.open_diffuse, self.open_shine, self.open_diffuse, self.open_shine)

    @property
    def taken(self) -> F64:
        """(N,) 0..1 the share of the light that something else keeps off the point."""
        return np.asarray(np.clip(1 - self.diffuse.mean(-1) / np.maximum(self.open_diffuse.mean(-1), 1e-6), 0, 1))


@dataclass(frozen=True)
class Light:
    """A LIGHT: what the relighter is given, and what really shines (an environment map itself, not its summary)."""

    name: str
    lighting: Lighting
    emitters: tuple[Emitter, ...]

    @classmethod
    def of(cls, lighting: Lighting) -> Light:
        """Lamps and sky, which are all there is to a `Lighting` that was not made from a map."""
        sky = (Sky(lighting.sh),) if np.abs(lighting.sh).max() > 0 else ()
        return cls(lighting.name, lighting, (*lamps_of(lighting), *sky))


def light_of(text: str, model: HybridModel) -> Light:
    """The LIGHT `text`. Raises LightError, also for the portrait's own light, which nobody knows well enough."""
    lighting = parse_light(text, model)
    if lighting.original:
        raise LightError(f"{text}: the portrait's own light cannot be traced; it is not known as lamps or a sky")
    named = map_of(text)
    if named is not None:
        path, turn = named
        radiance, name = turned_map(read_radiance(path), turn), f"{path.name}@{turn:g}"
        # exposed as the relighter's: by the power of the whole, whatever it was split into
        plain = environment(radiance, name, exposure=1.0)
        exposure = float(lighting.sh[0].sum() / max(plain.sh[0].sum(), 1e-12))
        return Light(name.removesuffix("@0"), lighting, (Environment(radiance * exposure),))
    return replace(Light.of(lighting), name=text)


@dataclass(frozen=True)
class Surface:
    """N points ready to be lit, camera space: start of rays, mesh normal, shading normal, direction to the viewer (N, 3
    each); oil (N,) 0..1."""

    start: F64
    outward: F64
    normal: F64
    viewer: F64
    oil: F64

    def __getitem__(self, which: Any) -> Surface:
        return Surface(self.start[which], self.outward[which], self.normal[which], self.viewer[which], self.oil[which])


def surface_at(mesh: PosedMesh, places: Places) -> Surface:
    """The model's surface at `places`."""
    posed = mesh.at(places)
    viewer = -posed.position / np.linalg.norm(posed.position, axis=-1, keepdims=True)
    normal = np.einsum("nij,nj->ni", posed.turn, model_normals(mesh.model, places))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    outward = np.where((posed.outward * normal).sum(-1, keepdims=True) < 0, -1.0, 1.0) * posed.outward  # two-sided
    oil = atlas_sample(mesh.model.material, places)[:, 2] / 255
    return Surface(posed.position + AWAY * outward, outward, normal, viewer, oil)


def atlas_sample(picture: NDArray[np.uint8], places: Places) -> F64:
    """(N, C) bytes of an atlas picture at `places`, as floats."""
    x, y = (np.ascontiguousarray(places.atlas[:, i], np.float32) for i in (0, 1))
    return np.asarray(gather(picture, x, y), np.float64)


def model_normals(model: HybridModel, places: Places) -> F64:
    """(N, 3) the portrait's own normals."""
    return decode_normals((atlas_sample(model.surface, places)[:, :2] / 255 * 2 - 1) * EXTENT)


class Truth:
    """Brute-force light on one posed mesh. Repeats to the last bit with the same seed."""

    def __init__(self, mesh: PosedMesh, light: Light, *, samples: int = SAMPLES, seed: int = 7) -> None:
        self.mesh, self.light, self.samples = mesh, light, samples
        self._shares = shares(light.emitters, samples)
        self._rng = np.random.default_rng(seed)

    def shone(self, surface: Surface) -> Shone:
        """All emitters on these points."""
        chunks = range(0, max(1, len(surface.start)), CHUNK)  # one at least, be it empty
        parts = [self._chunk(surface[i : i + CHUNK]) for i in chunks]
        return Shone(*(np.concatenate(p) for p in zip(*parts, strict=True)))

    def _chunk(self, surface: Surface) -> tuple[F64, ...]:
        diffuse, shine, open_diffuse, open_shine = (np.zeros_like(surface.start) for _ in range(4))
        for emitter, samples in zip(self.light.emitters, self._shares, strict=True):
            directions, weight = emitter.draw(surface.normal, self._squares(surface, samples))
            value = diffuse_response(surface.normal, directions) * weight
            clear = self._clear(surface, directions, value)
            diffuse += (value * clear).sum(1)
            open_diffuse += value.sum(1)
            if isinstance(emitter, Lamp):
                value = highlight_response(surface.normal, surface.oil, surface.viewer, directions) * weight
            elif isinstance(emitter, Environment):
                value, clear = self._reflected(surface, emitter)
            else:
                continue
            shine += (value * clear).sum(1)
            open_shine += value.sum(1)
        return diffuse, shine, open_diffuse, open_shine

    def _reflected(self, surface: Surface, environment: Environment) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        cosine = (surface.normal * surface.viewer).sum(-1, keepdims=True)
        middle = 2 * np.clip(cosine, 0, 1) * surface.normal - surface.viewer
        middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
        directions, weight = environment.mirrored(middle, LOBE, self._squares(surface, self.samples))
        weight = weight * np.float32(2 / (LOBE + 1))  # radiance over density and pi, as `draw` has it
        value = highlight_response(surface.normal, surface.oil, surface.viewer, directions) * weight
        return value, self._clear(surface, directions, value)

    def _squares(self, surface: Surface, samples: int) -> F64:
        return squares(len(surface.start), samples, self._rng)

    def _clear(self, surface: Surface, directions: NDArray[Any], value: NDArray[Any]) -> NDArray[np.bool_]:
        """(N, K, 1) whether light comes through in these directions; where its `value` is 0 it is not asked."""
        asked = value.max(-1, keepdims=True) > 0
        way = np.where(asked, lifted(directions, surface.outward), 0)
        return self.mesh.sees(surface.start, way)[..., None]


def bounce_of(truth: Truth, places: Places) -> F64:
    """(3,) the constant that the lit person throws back on itself: `places` stand for the face and neck."""
    model = truth.mesh.model
    weight = atlas_sample(model.surface, places)[:, 2:3] * atlas_sample(model.alpha[..., None], places)
    albedo = linear_of(atlas_sample(model.albedo, places))
    lit = truth.shone(surface_at(truth.mesh, places)).diffuse
    return np.asarray(OWN_VIEW * (albedo * lit * weight).sum(0) / max(float(weight.sum()), 1e-9))


def linear_of(value: F64) -> F64:
    """Linear light of sRGB values 0..255 that need not be whole."""
    return np.interp(value, np.arange(256), linear_table())


def developed(albedo: F64, gloss: F64, shone: Shone, bounce: F64) -> F64:
    """(N, 3) sRGB 0..1 of points with linear `albedo` (N, 3) and `gloss` (N,), as the relighter's tone curve shows."""
    linear = albedo * (np.maximum(shone.diffuse, 0) + bounce) + gloss[:, None] * shone.shine
    return np.asarray(srgb_from_linear(kneed(linear)), np.float64)
