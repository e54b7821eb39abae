"""Relighting: the kernel against plain numpy, the fast path against the exact one, and light from where it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.catchlights import Catchlights
from narrate_stream.fusion import head_framing
from narrate_stream.laying import kneed
from narrate_stream.lights import parse_light
from narrate_stream.ops import horizon as horizons
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.environment import environment
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.grading import Grade, graded
from narrate_stream.ops.lighting import (
    EXTENT,
    Lighting,
    ambient,
    decode_normals,
    encode_normals,
    preset,
    shade_normals,
    sun,
    table_normals,
)
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.relighters import ExactRelighter, LightMapRelighter, sampled
from narrate_stream.renderer import GBuffer, Renderer
from narrate_stream.shading import OWN_VIEW, Shading, atlas_scale, part_of, sky_of
from narrate_stream.types import View

LIGHTS = ("rembrandt", "split", "flat", "neon", "sun:40,30", "rim", "a map")


@pytest.fixture(scope="module")
def renderer(model: HybridModel) -> Renderer:
    return Renderer(model, head_framing(model, 256))


@pytest.fixture(scope="module")
def exact(model: HybridModel) -> ExactRelighter:
    return ExactRelighter(model)


def buffer(renderer: Renderer, yaw: float = 0, *, albedo: bool = True) -> GBuffer:
    return renderer(seen_from(still_motion(), View(yaw, 0)), albedo=albedo)


def lit_by(name: str, model: HybridModel) -> Lighting:
    """A LIGHT, or a map: sky above, ground below, a lamp on the right."""
    if name != "a map":
        return parse_light(name, model)
    y, x = np.mgrid[-1:1:32j, -1:1:64j]
    radiance = np.stack([0.4 - 0.1 * y, 0.4 - 0.2 * y, 0.4 - 0.3 * y], -1)
    return environment(radiance + 30 * (np.hypot(x - 0.3, 2 * (y + 0.3)) < 0.08)[..., None], name)


def looked_up(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of a square table (N, N, C) at 0..1 coordinates."""
    last = len(table) - 1
    fx, fy = np.clip(x * last, 0, last - 1e-3), np.clip(y * last, 0, last - 1e-3)
    ix, iy = fx.astype(int), fy.astype(int)
    ax, ay = (fx - ix)[..., None], (fy - iy)[..., None]
    top = table[iy, ix] * (1 - ax) + table[iy, ix + 1] * ax
    bottom = table[iy + 1, ix] * (1 - ax) + table[iy + 1, ix + 1] * ax
    return top * (1 - ay) + bottom * ay


def unpacked(encoded: np.ndarray) -> np.ndarray:
    """(..., 3) directions of the bytes of a surface or material, 0..1."""
    return decode_normals((encoded * 2 - 1) * EXTENT)


def plain(model: HybridModel, gbuffer: GBuffer, lighting: Lighting) -> np.ndarray:
    """(H, W, 3) bytes: what `ExactRelighter` computes, in numpy."""
    shading = Shading(model)
    atlas, where = shading.atlas, (gbuffer.map_x, gbuffer.map_y)
    parts = shading.head(lighting, gbuffer.rotation), shading.body(lighting)
    k, fine = atlas_scale(model) / gbuffer.texture_scale, 1 / gbuffer.texture_scale
    surface, material = (sampled(a, *where, fine) / 255.0 for a in (model.surface, model.material))
    head, gloss, oil, hair = surface[..., 2], surface[..., 3], material[..., 2], material[..., 3]
    normal, tangent = unpacked(surface[..., :2]), unpacked(material[..., :2])
    weights = atlas.head[..., None], 1 - atlas.head[..., None]
    opened = sampled(sum(w * shading.openness(p) for w, p in zip(weights, parts, strict=True)), *where, k)
    sky = sampled(atlas.open_sky, *where, k)[..., None]
    light = np.zeros(normal.shape) + atlas.bounce(
        sum(w * atlas.received(p)[0] for w, p in zip(weights, parts, strict=True))
    )
    learned = [w * added for w, p in zip(weights, parts, strict=True) if (added := atlas.learned(p)) is not None]
    shine = np.zeros_like(light)
    for part, weight in zip(parts, (head[..., None], 1 - head[..., None]), strict=True):
        light += weight * opened * part.sky(normal)
        if len(part.mirror) > 1:
            at = encode_normals(normal @ part.rotation.T) / EXTENT * 0.5 + 0.5
            shine += weight * sky * looked_up(part.mirror, at[..., 0], at[..., 1])
        for n, (d, radius) in enumerate(zip(part.directions, part.radius, strict=True)):
            seen = horizons.smooth(sampled(horizons.risen(atlas.planes, d, radius), *where, k))[..., None]
            light += weight * seen * part.lamp(n, normal)
            skin, strands = part.lobes(n, normal), part.lobes(n, tangent)
            lobe = (skin[..., 0] * (1 - oil) + skin[..., 1] * oil) * (1 - hair) + strands[..., 2] * hair
            shine += weight * seen * lobe[..., None] * part.colours[n]
    if learned:
        light = np.maximum(light + sampled(sum(learned), *where, k), 0)
    linear = linear_table()[gbuffer.base] * light + gloss[..., None] * shine
    picture = np.round(srgb_from_linear(kneed(linear)) * 255).astype(np.uint8)
    Catchlights(model)(picture, gbuffer, lighting)
    return picture.astype(float)


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("yaw", [0, 22])
def test_the_kernel_shades_as_plain_numpy_does(
    model: HybridModel, renderer: Renderer, exact: ExactRelighter, light: str, yaw: float
) -> None:
    gbuffer, lighting = buffer(renderer, yaw), lit_by(light, model)
    core, _ = exact(gbuffer, lighting)
    error = np.abs(core.astype(int) - plain(model, gbuffer, lighting))[gbuffer.covered]
    assert np.percentile(error, 99.9) <= 1
    assert error.max() <= 3  # in the dark a byte is a small step of light
    assert core[gbuffer.covered].std() > 10


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("yaw", [0, 22])
def test_the_light_map_is_close_to_the_exact_picture(
    model: HybridModel, renderer: Renderer, exact: ExactRelighter, light: str, yaw: float
) -> None:
    gbuffer, lighting = buffer(renderer, yaw), lit_by(light, model)
    core, fringe = exact(gbuffer, lighting)
    fast, fast_fringe = LightMapRelighter(model)(gbuffer, lighting)
    error = np.abs(core.astype(int) - fast)[gbuffer.covered]
    assert error.mean() < 4.2  # hard edges of shadows are two texels of the light map wide
    assert np.percentile(error, 99) < 48  # most at the head's shell, whose cell has few texels of the light map
    assert np.abs(fringe.astype(int) - fast_fringe).mean() < 8


@pytest.mark.parametrize("share", [0.25, 0.75, 1.0])
def test_a_light_that_fades_from_the_portraits_own_is_mixed_by_both(
    model: HybridModel, renderer: Renderer, exact: ExactRelighter, share: float
) -> None:
    """With its share at 1 the portrait's own light looks as by itself, and on the way there nothing jumps."""
    yaw = replace(buffer(renderer, 0), room=rotation_from_angles(20, 0, 0))
    lighting = replace(preset("rembrandt"), share=share, gain=np.array([0.7, 0.8, 0.9], np.float32))
    seen = yaw.covered
    core, fringe = exact(yaw, lighting)
    fast, fast_fringe = LightMapRelighter(model)(yaw, lighting)
    error = np.abs(core.astype(int) - fast)[seen]
    assert error.mean() < 4.5
    assert np.percentile(error, 99) < 48
    assert np.abs(fringe.astype(int) - fast_fringe).mean() < 8
    own, lamps = (exact(yaw, replace(lighting, share=s))[0] for s in (1.0, 0.0))
    alone = exact(replace(yaw, picture=renderer.texture), replace(lighting, original=True, share=0.0))[0]
    assert np.abs(own.astype(int) - alone)[seen].mean() < 0.5
    dark = (linear_table()[a][seen] for a in (own, lamps, core))
    shown, other, mixed = (np.minimum(a, 0.7) for a in dark)  # below the knee light adds up
    plain_light = (shown < 0.7) & (other < 0.7)
    assert np.abs(share * shown + (1 - share) * other - mixed)[plain_light].max() < 0.02


def test_the_original_light_at_rest_is_the_texture(model: HybridModel, renderer: Renderer) -> None:
    gbuffer = buffer(renderer, albedo=False)
    for relighter in (ExactRelighter(model), LightMapRelighter(model)):
        core, fringe = relighter(gbuffer, Lighting("original", original=True))
        assert np.array_equal(core[gbuffer.covered], gbuffer.base[gbuffer.covered])
        assert np.array_equal(fringe, gbuffer.fringe_base)


@pytest.mark.parametrize("kind", [ExactRelighter, LightMapRelighter])
def test_the_own_light_is_exposed_as_a_picture_is(model: HybridModel, renderer: Renderer, kind: type) -> None:
    gbuffer = buffer(renderer, albedo=False)
    own, relighter = Lighting("original", original=True), kind(model)
    before = linear_table()[gbuffer.base[gbuffer.covered]]
    darker = linear_table()[relighter(gbuffer, graded(own, Grade(-1)))[0][gbuffer.covered]]
    assert darker == pytest.approx(before / 2, abs=0.012)
    brighter = relighter(gbuffer, graded(own, Grade(1)))[0][gbuffer.covered]
    assert (brighter.astype(int) >= gbuffer.base[gbuffer.covered].astype(int) - 1).all()
    warm = linear_table()[relighter(gbuffer, graded(own, Grade(0, 80)))[0][gbuffer.covered]].mean(0)
    assert warm[0] / warm[2] > 1.4 * before.mean(0)[0] / before.mean(0)[2]


@pytest.mark.parametrize("kind", [ExactRelighter, LightMapRelighter])
def test_the_own_light_turns_round_the_person(model: HybridModel, renderer: Renderer, kind: type) -> None:
    """What a head that turns one way sees is what a light that turns the other way does."""
    own, relighter = Lighting("original", original=True), kind(model)
    gbuffer = buffer(renderer, albedo=False)
    head = replace(gbuffer, room=rotation_from_angles(35, 0, 0))
    turned, light = (relighter(g, light)[0] for g, light in ((head, own), (gbuffer, graded(own, Grade(turn=-35)))))
    marks = renderer.camera.project(model.neutral @ model.rotation.T + model.translation)[[4, 50, 280], :2]
    for x, y in marks.astype(int):
        assert np.abs(turned[y, x].astype(int) - light[y, x]).max() <= 2
    assert np.abs(light.astype(int) - gbuffer.base)[gbuffer.covered].mean() > 1


def test_the_original_light_goes_round_with_the_viewer_but_not_with_the_head(
    model: HybridModel, renderer: Renderer
) -> None:
    lighting = Lighting("original", original=True)
    seen = renderer(seen_from(still_motion(), View(25, 0)), albedo=False)
    turned = renderer(replace(still_motion(), pose=seen_from(still_motion(), View(25, 0)).pose), albedo=False)
    for relighter in (LightMapRelighter(model), ExactRelighter(model)):
        assert np.array_equal(relighter(seen, lighting)[0], seen.base)
        relit = relighter(turned, lighting)[0].astype(int)
        assert np.abs(relit - turned.base)[turned.covered].mean() > 1


@pytest.mark.parametrize("kind", [ExactRelighter, LightMapRelighter])
@pytest.mark.parametrize(("az", "el", "side"), [(-55, 15, "left"), (55, 15, "right")])
def test_light_from_one_side_brightens_that_side(
    model: HybridModel, renderer: Renderer, kind: type, az: float, el: float, side: str
) -> None:
    gbuffer = buffer(renderer)
    core, _ = kind(model)(gbuffer, sun(az, el))
    marks = renderer.camera.project(model.neutral @ model.rotation.T + model.translation)
    right, left = (core[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].mean() for x, y in marks[[50, 280], :2])
    assert (right > 1.2 * left) if side == "left" else (left > 1.2 * right)


def test_a_turned_head_is_lit_by_the_same_light(model: HybridModel) -> None:
    """The cheek that turns toward a light gets brighter: the normals of the portrait turn with the head."""
    shading = Shading(model)
    lighting = sun(60, 0)
    rotation = rotation_from_angles(30, 0, 0)
    normals = table_normals(40)
    head, body = shading.head(lighting, rotation), shading.body(lighting)
    lit = head.sky(normals) + head.lamp(0, normals)
    assert lit == pytest.approx(shade_normals(lighting, normals @ rotation.T), abs=1e-5)
    assert body.sky(normals) + body.lamp(0, normals) == pytest.approx(shade_normals(lighting, normals), abs=1e-5)
    assert head.lamp(0, normals)[20, 20].mean() > 1.4 * body.lamp(0, normals)[20, 20].mean()


@pytest.mark.parametrize("name", ["flat", "clamshell", "rembrandt", "rim"])
def test_large_lamps_are_sky_that_shades_like_them(name: str) -> None:
    lighting = preset(name)
    part = part_of(lighting, np.eye(3), sky_of(lighting))
    normals = table_normals(40)
    around = np.linalg.norm(encode_normals(normals), axis=-1) < 1
    lit = part.sky(normals) + sum(part.lamp(k, normals) for k in range(len(part.colours)))
    error = (lit - shade_normals(lighting, normals))[around]
    assert np.abs(error).mean() < 0.012


def test_light_adds_up_and_scales(model: HybridModel, renderer: Renderer, exact: ExactRelighter) -> None:
    gbuffer = buffer(renderer)
    dim, bright = (exact(gbuffer, sun(20, 20, g))[0][gbuffer.covered] for g in (0.25, 0.5))
    assert linear_table()[bright].mean() == pytest.approx(2 * linear_table()[dim].mean(), rel=0.03)
    black, _ = exact(gbuffer, sun(0, 0, 0))
    assert not black.any()


def test_the_shadow_lies_on_the_far_side_of_the_nose(model: HybridModel) -> None:
    shading = Shading(model)
    h, w = model.horizons.shape[1:]
    marks = model.camera.project(model.neutral @ model.rotation.T + model.translation) * w / model.canvas[0]
    y, x = np.mgrid[:h, :w]
    nose = marks[4]
    width = np.ptp(marks[[50, 280], 0])
    around = (np.abs(x - nose[0]) < 0.5 * width) & (np.abs(y - nose[1]) < 0.5 * width)
    for az, side in ((-50, 1), (50, -1)):
        _, (seen,) = shading.atlas.received(shading.body(sun(az, 25)))
        dark = np.where(around, 1 - seen[:h], 0)
        assert dark.sum() > 30  # the nose throws a shadow
        assert ((dark * x).sum() / dark.sum() - nose[0]) * side > 0
        edge = (dark > 0.1) & (dark < 0.9)
        assert edge.sum() < 0.5 * (dark > 0.5).sum()  # with an edge


def test_a_closed_sky_is_darker_and_never_brighter(model: HybridModel) -> None:
    shading = Shading(model)
    opened = shading.openness(shading.body(Lighting("even", ambient(1.0))))
    assert opened.min() >= 0
    assert opened.max() <= 1
    eye = model.camera.project(model.neutral[133] @ model.rotation.T + model.translation) * atlas_scale(model)
    assert opened[int(eye[1]), int(eye[0]), 0] < 0.9  # the inner corner of an eye


def test_the_lit_person_lights_itself_a_little(model: HybridModel) -> None:
    """Radiosity: in step with the lamp's power, less than what was received, none without light."""
    shading = Shading(model)

    def bounce(lighting: Lighting) -> np.ndarray:
        return shading.atlas.bounce(shading.atlas.received(shading.body(lighting))[0])

    one, two = (bounce(sun(40, 10, gain)) for gain in (1.0, 2.0))
    assert two == pytest.approx(2 * one, rel=0.02)
    assert (one > 0.002).all()
    assert (one < OWN_VIEW * shade_normals(sun(40, 10), np.array([[0.0, 0.0, 1.0]]))).all()
    assert bounce(sun(180, 0)).max() < 0.2 * one.max()  # from behind hardly anything is lit


def key_light(model: HybridModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) shading by a preset's key alone on the small atlas, and the landmarks (478, 2) in its texels."""
    shading = Shading(model)
    part = shading.body(preset(name))
    seen = horizons.seen(shading.atlas.planes, part.directions[0], float(part.radius[0]))
    lit = part.lamp(0, shading.atlas.normals).mean(-1) * seen
    marks = model.camera.project(model.neutral @ model.rotation.T + model.translation)
    return lit, marks * atlas_scale(model)


def along(lit: np.ndarray, marks: np.ndarray, a: int, b: int) -> np.ndarray:
    """(40,) values from landmark a to landmark b."""
    at = marks[a] + (marks[b] - marks[a]) * np.linspace(0, 1, 40)[:, None]
    return lit[at[:, 1].astype(int), at[:, 0].astype(int)]


def test_rembrandt_shows_its_triangle_on_the_far_cheek(model: HybridModel) -> None:
    """From the nose to the far ear: the nose's shadow, a lit patch, the dark side; below it, by the mouth, nothing."""
    lit, marks = key_light(model, "rembrandt")
    across = along(lit, marks, 4, 454)
    patch = int(np.argmax(across[10:])) + 10
    assert across[patch] > 0.4
    assert across[:patch].min() < 0.12
    assert across[patch:].min() < 0.05
    assert along(lit, marks, 291, 361).max() < 0.5 * across[patch]


def test_butterfly_throws_one_shadow_under_the_nose(model: HybridModel) -> None:
    lit, marks = key_light(model, "butterfly")
    under = along(lit, marks, 4, 0)
    assert under.min() < 0.25 * lit[int(marks[4, 1]) - 3, int(marks[4, 0])]
    cheeks = [along(lit, marks, 4, side).max() for side in (205, 425)]
    assert min(cheeks) > 0.5
