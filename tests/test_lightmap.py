"""The live light's map against plain numpy, and what of it is kept from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from narrate_stream.bands import BANDS
from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import head_framing
from narrate_stream.lightmap import DARKEST_SHINE, LightMap, covered_texels
from narrate_stream.ops import ownlight
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import EXTENT, Lighting, encode_normals, preset, sun
from narrate_stream.presence import still_motion
from narrate_stream.renderer import BLOCKS, GBuffer, Renderer
from narrate_stream.shading import Shading, room_of
from tests.test_relighters import lit_by, looked_up


@pytest.fixture(scope="module")
def gbuffer(model: HybridModel) -> GBuffer:
    return whole(Renderer(model, head_framing(model, 128))(still_motion()))


def whole(gbuffer: GBuffer) -> GBuffer:
    """As if all of the atlas were to be seen."""
    return replace(gbuffer, seen=np.ones_like(gbuffer.seen))


def turned(gbuffer: GBuffer, yaw: float) -> GBuffer:
    head = rotation_from_angles(yaw, 0, 0)
    return replace(gbuffer, rotation=head, room=head)


def plain(model: HybridModel, gbuffer: GBuffer, lighting: Lighting) -> np.ndarray:
    """(h, w, 3) the map in numpy."""
    import cv2

    shading = Shading(model)
    atlas = shading.atlas
    albedo = cv2.resize(linear_table()[model.albedo], atlas.head.shape[::-1], interpolation=cv2.INTER_AREA)
    diffuse, shine = np.zeros_like(albedo), np.zeros_like(albedo)
    parts = shading.head(lighting, gbuffer.rotation), shading.body(lighting)
    for part, weight in zip(parts, (atlas.head[..., None], 1 - atlas.head[..., None]), strict=True):
        lit, shadows = atlas.received(part)
        diffuse += weight * lit
        for k, shadow in enumerate(shadows):
            skin, hair = part.lobes(k, atlas.normals), part.lobes(k, atlas.tangents)
            lobes = skin[..., 0] * atlas.lobes[..., 0] + skin[..., 1] * atlas.lobes[..., 1]
            lobes += hair[..., 2] * atlas.lobes[..., 2]
            shine += weight * (shadow * lobes)[..., None] * part.colours[k]
        if len(part.mirror) > 1:
            at = encode_normals(atlas.normals @ part.rotation.T) / EXTENT * 0.5 + 0.5
            mirrored = looked_up(part.mirror, at[..., 0], at[..., 1])
            shine += weight * (atlas.gloss * atlas.open_sky)[..., None] * mirrored
    return np.asarray(diffuse + atlas.bounce(diffuse) + shine / np.maximum(albedo, DARKEST_SHINE))


def covered(model: HybridModel, made: np.ndarray) -> np.ndarray:
    """(n, 3) of a map (h, w, 3), where there is somebody."""
    return made.reshape(-1, 3)[covered_texels(model, made.shape[1::-1])]


@pytest.mark.parametrize("light", ["rembrandt", "neon", "flat", "sun:40,30", "a map"])
@pytest.mark.parametrize("yaw", [0, 25])
def test_the_map_is_what_plain_numpy_makes(model: HybridModel, gbuffer: GBuffer, light: str, yaw: float) -> None:
    lighting, head = lit_by(light, model), turned(gbuffer, yaw)
    made = LightMap(model, Shading(model))(head, lighting)
    error = np.abs(covered(model, made) - covered(model, plain(model, head, lighting)))
    assert error.mean() < 1e-3
    assert np.percentile(error, 99.9) < 0.02  # faint shares of parts and lobes are left out


@pytest.mark.parametrize("turn", [0.0, 50.0])
def test_the_portraits_own_light_changes_as_plain_numpy_says(model: HybridModel, gbuffer: GBuffer, turn: float) -> None:
    own = Lighting("original", original=True, turn=turn, gain=np.array([1.0, 0.5, 2.0], np.float32))
    head, shading = turned(gbuffer, 25), Shading(model)
    weight, normals = shading.atlas.head, shading.atlas.normals
    face, body = (ownlight.change(model.light, normals, normals @ room_of(own, r).T) for r in (head.room, np.eye(3)))
    expected = (body + (face - body) * weight)[..., None] * own.gain
    made = LightMap(model, shading)(head, own)
    assert covered(model, made) == pytest.approx(covered(model, expected), rel=0.01, abs=0.01)
    still = LightMap(model, shading)(gbuffer, Lighting("original", original=True))
    assert covered(model, still) == pytest.approx(1, abs=1e-6)


def test_nothing_is_made_where_nothing_moves(model: HybridModel, gbuffer: GBuffer) -> None:
    lighting, light_map = sun(30, 20), LightMap(model, Shading(model))
    first = light_map(gbuffer, lighting)
    assert light_map(turned(gbuffer, 0.1), lighting) is first
    assert light_map(turned(gbuffer, 2.0), lighting) is not first
    assert light_map(gbuffer, replace(lighting)) is not first


@pytest.mark.parametrize("light", ["rembrandt", "original"])
def test_what_is_not_seen_is_lit_when_it_comes_into_view(model: HybridModel, gbuffer: GBuffer, light: str) -> None:
    lighting = preset(light) if light != "original" else Lighting("original", original=True)
    head, light_map = turned(gbuffer, 10), LightMap(model, Shading(model))
    everything = covered(model, LightMap(model, Shading(model))(head, lighting))
    seen = np.zeros_like(gbuffer.seen)
    seen[20:40, 20:40] = True
    row, column = (
        at * BLOCKS // n
        for at, n in zip(
            np.divmod(covered_texels(model, light_map.size), light_map.size[0]), light_map.size[::-1], strict=True
        )
    )
    partly = covered(model, light_map(replace(head, seen=seen), lighting))
    assert np.array_equal(partly[seen[row, column]], everything[seen[row, column]])
    assert not np.array_equal(partly, everything)
    fewer = light_map(replace(head, seen=seen & (np.arange(BLOCKS) < 30)), lighting)
    assert np.array_equal(covered(model, fewer), partly)
    assert np.array_equal(covered(model, light_map(head, lighting)), everything)


def counted(calls: list[int], work: Callable[..., None], *args: object) -> None:
    calls.append(1)
    work(*args)


def test_the_body_is_not_lit_anew_while_only_the_head_turns(model: HybridModel, gbuffer: GBuffer) -> None:
    """Its light changes with light and grade, also under the portrait's own."""
    for lighting, changed in (
        (preset("rembrandt"), replace(preset("rembrandt"), name="other")),
        (Lighting("original", original=True), Lighting("original", original=True, turn=20.0)),
    ):
        light_map = LightMap(model, Shading(model))
        layers = light_map._own if lighting.original else light_map._lamps
        lit: list[int] = []
        for band in layers.body:
            for name in ("lit", "changed"):
                setattr(band, name, partial(counted, lit, getattr(band, name)))
        made = []
        for yaw, light in ((0, lighting), (10, lighting), (20, lighting), (20, changed)):
            light_map(turned(gbuffer, yaw), light)
            made.append(len(lit))
        assert made == [BANDS, BANDS, BANDS, 2 * BANDS]
