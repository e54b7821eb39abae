"""The learned residual: its harmonics, its bytes, F_R on a portrait, and what both relighters make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import head_framing
from narrate_stream.lights import parse_light
from narrate_stream.ops import residual
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.ops.lighting import direction, rotated_sh, sh_shading, sun
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.relighters import ExactRelighter, LightMapRelighter
from narrate_stream.renderer import Renderer
from narrate_stream.shading import Shading
from narrate_stream.types import View


def test_a_lamp_as_harmonics_shades_nearly_as_a_lamp() -> None:
    """To order two a lamp shades 1.0625 where it stands overhead and 0.0625 on the far side (Ramamoorthi 2001)."""
    d = direction(30, 20)
    shading = sh_shading(residual.lamp_sh(d[None], np.array([[1.0, 0.5, 0.0]])), np.stack([d, -d]))
    assert shading[0] == pytest.approx([1.0625, 0.53125, 0], abs=1e-4)
    assert shading[1] == pytest.approx([0.0625, 0.03125, 0], abs=1e-4)


def test_bytes_keep_a_residual_to_half_a_step() -> None:
    values = np.random.default_rng(0).uniform(-residual.RANGE, residual.RANGE, (5, 6, 27))
    back = residual.unpacked(residual.packed(values))
    assert np.abs(back - values).max() <= residual.RANGE / 254 + 1e-7
    assert (residual.unpacked(residual.packed(np.zeros((1, 27)))) == 0).all()
    assert residual.unpacked(residual.packed(np.full((1, 27), 9.0))) == pytest.approx(residual.RANGE)


def test_one_product_is_the_plain_sum() -> None:
    rng = np.random.default_rng(1)
    values, sh = rng.normal(size=(4, 5, 27)).astype(np.float32), rng.normal(size=(9, 3))
    plain = np.einsum("hwck,kc->hwc", values.reshape(4, 5, 3, 9), sh)
    assert residual.lit(values, sh) == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize("turn", [rotation_from_angles(20, -10, 35), np.diag([-1.0, 1.0, 1.0])])
def test_surface_and_light_turned_together_change_nothing(turn: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    values, sh = rng.normal(size=(3, 27)).astype(np.float32), rng.normal(size=(9, 3))
    turned = residual.turned(values, turn)
    assert residual.lit(turned, rotated_sh(sh, turn)) == pytest.approx(residual.lit(values, sh), abs=1e-5)
    assert residual.turned(turned, turn.T) == pytest.approx(values, abs=1e-5)


def even(model: HybridModel, level: float) -> HybridModel:
    """The model with a residual of `level` shading in white light of a lamp of colour 1, whatever its direction."""
    values = np.zeros((*model.horizons.shape[1:], 3, 9))
    values[..., 0] = level / (np.pi * 0.2820948)
    return replace(model, residual=residual.packed(values.reshape(*values.shape[:2], 27)))


def test_an_even_residual_adds_what_it_says(model: HybridModel) -> None:
    light = sun(30, 20)
    plain, learned = (Shading(m) for m in (replace(model, residual=None), even(model, 0.05)))
    before, after = (s.atlas.received(s.head(light, np.eye(3)))[0] for s in (plain, learned))
    rows = model.horizons.shape[1]
    assert after[:rows] - before[:rows] == pytest.approx(0.05, abs=0.001)
    assert (after[rows:] == before[rows:]).all()  # the cells of eyes, mouth and back of the head have none
    darker = Shading(even(model, -0.06))
    assert darker.atlas.received(darker.head(light, np.eye(3)))[0].min() == 0  # no light below none


def uneven(model: HybridModel) -> HybridModel:
    """The model with a broad residual in all harmonics."""
    h, w = model.horizons.shape[1:]
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    waves = [np.cos(2 * x * (k % 3) + y * (k % 5) + k) for k in range(27)]
    return replace(model, residual=residual.packed(0.03 * np.stack(waves, -1)))


@pytest.mark.parametrize("light", ["rembrandt", "flat", "neon", "sun:40,30"])
@pytest.mark.parametrize("yaw", [0, 22])
def test_both_relighters_take_the_same_residual(model: HybridModel, light: str, yaw: float) -> None:
    """As far as the fast path is from the exact one without a residual, and no farther, while pictures differ by it."""
    gbuffer = Renderer(model, head_framing(model, 256))(seen_from(still_motion(), View(yaw, 0)), albedo=True)
    lighting, at = parse_light(light, model), gbuffer.covered
    pictures = {
        (kind, name): kind(m)(gbuffer, lighting)[0][at].astype(float)
        for kind in (ExactRelighter, LightMapRelighter)
        for name, m in (("plain", replace(model, residual=None)), ("learned", uneven(model)))
    }
    apart = {n: pictures[LightMapRelighter, n] - pictures[ExactRelighter, n] for n in ("plain", "learned")}
    changed = pictures[ExactRelighter, "learned"] - pictures[ExactRelighter, "plain"]
    assert np.abs(changed).mean() > 2
    assert np.abs(apart["learned"]).mean() < np.abs(apart["plain"]).mean() + 0.6
    assert np.abs(apart["learned"] - apart["plain"]).mean() < 0.25 * np.abs(changed).mean()


def test_the_portraits_own_light_knows_no_residual(model: HybridModel) -> None:
    gbuffer = Renderer(model, head_framing(model, 128))(still_motion(), albedo=False)
    own = parse_light("original", model)
    for kind in (ExactRelighter, LightMapRelighter):
        assert np.array_equal(kind(uneven(model))(gbuffer, own)[0], kind(model)(gbuffer, own)[0])


torch = pytest.importorskip("torch")
CAMERA = Camera(600.0, 199.5, 219.5)
SIZE = (440, 400)  # height, width


@pytest.fixture(scope="module")
def found() -> np.ndarray:
    """(110, 100, 27) what a network that always says the same adds to the average face before CAMERA."""
    from narrate_stream.nets.unet import UNet, architecture_for
    from offline.residual import Painted, learned_residual

    network = UNet(architecture_for("relight")).eval()
    with torch.no_grad():
        network.last.weight.zero_()
        network.last.bias.fill_(0.2)
    points = canonical().landmarks + np.array([0, 0, -60])
    pixels = CAMERA.project(points)
    marks = np.concatenate([pixels, -(points[:, 2:] - points[:, 2].mean()) * 10], 1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    middle = pixels[:468].mean(0)
    face = ((x - middle[0]) / 75) ** 2 + ((y - middle[1]) / 90) ** 2 < 1
    normal = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (*SIZE, 3))
    painted = Painted(normal, np.full((*SIZE, 3), 0.4, np.float32), np.ones(SIZE, np.float32), face, face)
    planes = np.zeros((32, SIZE[0] // 2, SIZE[1] // 2), np.uint8)
    return residual.unpacked(learned_residual(network, painted, planes, marks, CAMERA))


def test_what_a_network_says_lies_on_the_face_and_fades(found: np.ndarray) -> None:
    from narrate_stream.nets import heads

    said = heads.LIMIT * np.tanh(0.2)
    assert found.shape == (110, 100, 27)
    assert found[52:58, 47:53, 0] == pytest.approx(said, abs=0.003)
    assert (found[:15] == 0).all()
    assert (found[:, :20] == 0).all()
    steps = np.abs(np.diff(found[..., 0], axis=1)).max()
    assert 0 < steps < 0.5 * said  # no edge


def test_mirror_images_agree(found: np.ndarray) -> None:
    """What one look says and its mirror image denies is nothing: harmonics that are odd across the face."""
    odd = [c * 9 + k for c in range(3) for k in (3, 4, 7)]
    assert np.abs(found[50:60, 45:55][..., odd]).max() < 0.005


@pytest.mark.parametrize("size", [(192, 192), (192, 171), (149, 192)])
def test_planes_of_any_size_are_made_coarser(size: tuple[int, int]) -> None:
    from offline.residual import COARSER, coarser

    planes = np.arange(27, dtype=np.float32)
    made = coarser(np.tile(planes, (*size, 1)))
    assert made.shape == (-(-size[0] // COARSER), -(-size[1] // COARSER), 27)
    assert made == pytest.approx(np.broadcast_to(planes, made.shape), abs=1e-4)
