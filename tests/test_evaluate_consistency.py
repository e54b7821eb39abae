"""`eval consistency`: a perfect shader scores 0, known faults score what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import LightError
from narrate_stream.ops.lighting import Lighting, direction, preset
from narrate_stream.renderer import GBuffer
from offline.evaluate.consistency import Moment, Stand, Track, evaluate_consistency, orbiting, over, turning
from offline.evaluate.posed import Pose
from offline.evaluate.truth import Light, light_of
from tests.toy_model import sphere, toy_model

FRAMES, COUNT = 30, 50
TIME = np.linspace(0, 2 * np.pi, FRAMES)[:, None]
PHYSICS = 1 + 0.3 * np.sin(TIME + np.linspace(0, 3, COUNT))


def track(shown: np.ndarray, seen: np.ndarray | None = None, lit: np.ndarray | None = None) -> Track:
    everywhere = np.ones(shown.shape, np.bool_)
    return Track(shown, PHYSICS, everywhere if seen is None else seen, everywhere if lit is None else lit)


def level() -> float:
    return float(np.sqrt((PHYSICS**2).mean())) / 100


def test_what_moves_as_physics_says_scores_nothing() -> None:
    row = track(PHYSICS).row()
    assert {name: row[name] for name in ("residual", "lit", "offset", "flicker")} == dict.fromkeys(
        ("residual", "lit", "offset", "flicker"), 0.0
    )
    assert row["moving"] > 0.5


def test_a_constant_fault_is_an_offset() -> None:
    row = track(PHYSICS + np.linspace(-0.1, 0.1, COUNT)).row()
    assert row["offset"] == pytest.approx(np.sqrt((np.linspace(-0.1, 0.1, COUNT) ** 2).mean()) / level())
    assert row["residual"] == pytest.approx(0, abs=1e-9)
    assert row["flicker"] == pytest.approx(0, abs=1e-9)


def test_noise_is_residual_and_six_times_as_much_flicker_power() -> None:
    noise = 0.01 * np.random.default_rng(0).normal(size=PHYSICS.shape)
    row = track(PHYSICS + noise).row()
    assert row["residual"] == pytest.approx(0.01 / level(), rel=0.05)
    assert row["flicker"] == pytest.approx(np.sqrt(6) * 0.01 / level(), rel=0.1)


def test_a_shading_that_stands_still_scores_what_it_missed() -> None:
    row = track(np.ones_like(PHYSICS)).row()
    moved = PHYSICS - PHYSICS.mean(0)
    assert row["residual"] == pytest.approx(np.sqrt((moved**2).mean()) / level())


def test_out_of_sight_and_shadow_do_not_count() -> None:
    seen = np.arange(COUNT) < 40
    lit = np.broadcast_to(seen & (np.arange(COUNT) < 30), PHYSICS.shape)
    wrong = PHYSICS + np.where(seen, 0, 5) * np.sin(TIME)
    assert track(wrong, np.broadcast_to(seen, PHYSICS.shape), lit).row()["residual"] == pytest.approx(0, abs=1e-9)
    dark = PHYSICS + np.where(np.arange(COUNT) < 30, 0, 0.2) * np.sin(TIME)
    row = track(dark, lit=lit).row()
    assert row["lit"] == pytest.approx(0, abs=1e-9)
    assert row["residual"] > 5


def test_frames_that_show_nothing_leave_the_rest_alone() -> None:
    seen = np.ones(PHYSICS.shape, np.bool_)
    seen[10:15] = False
    row = track(np.where(seen, PHYSICS + 0.1, np.nan), seen, seen).row()
    assert row["offset"] == pytest.approx(10 / np.sqrt((PHYSICS[seen] ** 2).mean()))
    assert row["residual"] == pytest.approx(0, abs=1e-9)


def test_sequences() -> None:
    light = Light.of(preset("split"))
    turn = turning(light, 11)
    assert [m.view.yaw for m in turn] == pytest.approx(np.linspace(-25, 25, 11))
    assert all(m.light is light for m in turn)
    orbit = orbiting(
        Light.of(Lighting("lamp", directions=direction(0, 20)[None], colours=np.ones((1, 3)), softness=np.zeros(1))), 4
    )
    assert orbit[1].light.lighting.directions[0] == pytest.approx(direction(90, 20), abs=1e-6)
    assert orbit[2].light.emitters[0].direction == pytest.approx(direction(180, 20), abs=1e-6)  # type: ignore[attr-defined]


def test_a_light_with_a_map_cannot_go_round(tmp_path: Any) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "room.png"), np.full((8, 16, 3), 90, np.uint8))
    with pytest.raises(LightError, match="go round"):
        orbiting(light_of(f"{tmp_path}/room.png", toy_model(*sphere(4))))


class Perfect:
    """Shows brute force itself, as bytes."""

    def __init__(self, stand: Stand) -> None:
        self.stand, self.pose = stand, stand.sitting.pose
        stand.sitting.pose = self.remember  # type: ignore[method-assign]

    def remember(self, motion: Any) -> Pose:
        self.now = self.pose(motion)
        return self.now

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[np.ndarray, np.ndarray]:
        lit, _, _ = self.now.pictures(Light.of(lighting), self.stand.sitting.skin)
        out = gbuffer.base.copy()
        out[self.now.face] = np.round(lit * 255)
        return out, gbuffer.fringe_base


def test_a_perfect_shader_scores_next_to_nothing(model: HybridModel) -> None:
    stand = Stand(model, None, lambda picture: None, size=160)
    stand.relighter = Perfect(stand)  # type: ignore[assignment]
    light = light_of("sun:30,20", model)
    row = stand.tracks(turning(light, 5))["live"].row()
    assert row["residual"] < 0.6  # bytes
    assert row["offset"] < 0.6
    assert row["moving"] > 5


def test_the_baseline_without_a_face_is_missing(model: HybridModel) -> None:
    stand = Stand(model, "networks that are never asked", lambda picture: None, size=160)  # type: ignore[arg-type]
    found = stand.frame(Moment(turning(light_of("sun:0,10", model), 3)[1].view, light_of("sun:0,10", model)))
    assert found["live"].seen.sum() > 100
    assert not found["per view"].seen.any()


def test_the_built_in_portrait(model: HybridModel) -> None:
    said: list[str] = []
    found = evaluate_consistency(
        {"astronaut": model}, lights=("sun:20,10",), frames=4, size=192, baseline=False, progress=said.append
    )
    assert list(found) == ["live"]
    assert list(found["live"]) == ["turn, sun:20,10", "orbit, sun:20,10", "mean"]
    assert 0.1 < found["live"]["mean"]["residual"] < 30
    assert said == ["astronaut, turn, sun:20,10", "astronaut, orbit, sun:20,10"]


def test_a_highlight_counts_by_its_light_whatever_the_colour_of_the_skin() -> None:
    red, grey = np.array([[0.57, 0.08, 0.07]]), np.full((1, 3), 0.24)
    assert over(0.7 * red, red) == pytest.approx([0.7])
    assert over(0.7 * red + 0.1, red) == pytest.approx(over(0.7 * grey + 0.1, grey))
