"""The journey of a frame, on the built-in portrait: faces lost and found, lights, views and what they report."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.drivers.script import ScriptDriver, ScriptSource, parse_script, talking_script
from narrate_stream.errors import DeviceError, LightError, NarrateError
from narrate_stream.kernels import rasterise
from narrate_stream.ops.grading import Grade
from narrate_stream.ops.lighting import Lighting, ambient, sun
from narrate_stream.pipeline import Pipeline, seen_from
from narrate_stream.presence import HOLD, IDLE_AFTER, IDLE_EASE, still_motion
from narrate_stream.types import Frame, Motion, View

SIZE = 128
STAGES = {"track", "motion", "render", "relight", "fuse"}


def frame(i: int) -> Frame:
    return Frame(np.full((64, 64, 3), 127, np.uint8), i, Fraction(1, 30))


class Sees:
    """A driver that shows one motion for some frames and then loses the face."""

    def __init__(self, motion: Motion, frames: int) -> None:
        self.motion, self.left, self.closed = motion, frames, False
        self.neutral = ScriptDriver(parse_script({"version": 1, "frames": [{"time": 0}]})).neutral

    def __call__(self, frame: Frame) -> Motion | None:
        self.left -= 1
        return self.motion if self.left >= 0 else None

    def close(self) -> None:
        self.closed = True


def turned(**pose: float) -> Motion:
    script = parse_script({"version": 1, "frames": [{"time": 0, "pose": pose, "expression": {"jawOpen": 0.6}}]})
    motion = ScriptDriver(script)(frame(0))
    assert motion is not None
    return motion


def test_without_a_driver_the_portrait_rests(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE)
    first, second = pipeline.step(frame(0)), pipeline.step(frame(5))
    assert first.image.shape == (SIZE, SIZE, 3)
    assert np.array_equal(first.image, second.image)
    assert (second.pts, second.time_base) == (5, Fraction(1, 30))
    assert set(pipeline.stage_ms) == STAGES
    assert not pipeline.state()["tracking"]


def test_a_pipeline_that_is_warm_loads_and_makes_nothing_more(
    model: HybridModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, cold, frames = Pipeline(model, size=SIZE, light="loop"), Pipeline(model, size=SIZE, light="loop"), []
    monkeypatch.setattr(rasterise, "_loaded", set())
    pipeline.warm_up()
    loaded = set(rasterise._loaded)
    assert len(loaded) == 3
    monkeypatch.setattr("narrate_stream.laying.Creases", None)
    monkeypatch.setattr(rasterise.wp, "load_module", None)
    for i, moved in enumerate((turned(yaw=0), turned(yaw=10))):
        frames.append(pipeline.play(frame(i), moved).image)
    monkeypatch.undo()
    for i, moved in enumerate((turned(yaw=0), turned(yaw=10))):  # and nothing of it is to be seen
        assert np.array_equal(cold.play(frame(i), moved).image, frames[i])


def test_a_script_moves_the_avatar_and_ends_where_it_began(model: HybridModel) -> None:
    script = talking_script(2, seed=4)
    pipeline = Pipeline(model, size=SIZE, driver=ScriptDriver(script))
    shown = [pipeline.step(f) for f in ScriptSource(script)]
    assert [f.time for f in shown] == [f.time for f in ScriptSource(script)]
    change = [float(np.abs(f.image.astype(int) - shown[0].image).mean()) for f in shown]
    assert max(change) > 2
    assert pipeline.state()["tracking"]
    pipeline.close()
    assert pipeline.driver is None


def test_first_order_motion_moves_the_same_avatar(model: HybridModel) -> None:
    """Light and view stay free while it drives, and it does what the mesh does."""
    script = talking_script(1.2, seed=4)
    options: dict[str, Any] = {"size": SIZE, "light": "rembrandt", "view": View(15, 0)}
    clips = []
    for transfer in ("mesh", "first-order"):
        pipeline = Pipeline(model, driver=ScriptDriver(script), transfer=transfer, **options)
        clips.append(np.array([pipeline.step(f).image for f in ScriptSource(script)], float))
        pipeline.close()
    rest = Pipeline(model, **options).step(frame(0)).image
    apart, moved = np.abs(clips[1] - clips[0]).mean(), np.abs(clips[0] - rest).mean()
    assert moved > 2
    assert 0 < apart < 0.4 * moved


def test_a_lost_face_eases_to_the_portrait(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, driver=Sees(turned(yaw=20), 20))
    rest = Pipeline(model, size=SIZE).step(frame(0)).image
    away = []
    for i in range(20 + int(30 * HOLD * 2)):
        shown = pipeline.step(frame(i)).image
        away.append(float(np.abs(shown.astype(int) - rest).mean()))
    lost = away[20:]
    assert away[19] > 3
    assert lost[0] < away[19]
    assert np.diff(lost).max() < 0.2  # it never jumps back
    assert np.abs(np.diff(lost)).max() < 0.5 * away[19]  # nor home at once
    assert lost[-1] < 0.6
    assert not pipeline.state()["tracking"]


def test_a_face_that_comes_back_takes_over_smoothly(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, driver=Sees(turned(yaw=20), 20))
    for i in range(60):
        pipeline.step(frame(i))
    assert pipeline.state()["pose"]["yaw"] == pytest.approx(0, abs=0.2)
    yaws = []
    for i in range(60, 80):
        pipeline.play(frame(i), turned(yaw=20))
        yaws.append(pipeline.state()["pose"]["yaw"])
    assert np.diff([0.0, *yaws]).max() < 5
    assert yaws[-1] == pytest.approx(20, abs=0.5)


def test_a_single_lost_frame_leaves_hardly_a_trace(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, driver=Sees(turned(yaw=20), 20))
    for i in range(21):
        pipeline.step(frame(i))
    pipeline.play(frame(21), turned(yaw=20))
    assert pipeline.state()["pose"]["yaw"] == pytest.approx(20, abs=1.5)
    pipeline.play(frame(22), turned(yaw=20))
    assert pipeline.state()["pose"]["yaw"] == pytest.approx(20, abs=0.3)


def idling(model: HybridModel, seconds: float) -> tuple[Pipeline, list[np.ndarray]]:
    pipeline = Pipeline(model, size=SIZE, idle=True)
    return pipeline, [pipeline.step(frame(i)).image.astype(int) for i in range(int(30 * seconds))]


def test_a_portrait_that_nobody_drives_lives_if_it_may(model: HybridModel) -> None:
    pipeline, shown = idling(model, 10)
    rest = Pipeline(model, size=SIZE).step(frame(0)).image
    assert np.array_equal(shown[int(30 * IDLE_AFTER) - 2], rest)  # not at once
    steps = [float(np.abs(b - a).mean()) for a, b in pairwise(shown)]
    assert max(steps[: int(30 * (IDLE_AFTER + 1))]) < 0.3  # it fades in
    assert 0 < np.median(steps[120:]) < 0.4  # it breathes, and no more
    eyes = np.s_[SIZE * 3 // 8 : SIZE // 2, SIZE * 5 // 16 : SIZE * 11 // 16]
    closed = [float(np.abs(image[eyes] - rest[eyes]).mean()) for image in shown]
    assert max(closed) > 3 * np.median(closed[120:])  # it blinks
    assert pipeline.state()["idle"]
    assert all(np.array_equal(a, b) for a, b in zip(shown, idling(model, 10)[1], strict=True))


def test_idling_is_switched_off_softly_and_ends_at_rest(model: HybridModel) -> None:
    pipeline, shown = idling(model, 6)
    rest = Pipeline(model, size=SIZE).step(frame(0)).image
    pipeline.set_idle(False)
    after = [pipeline.step(frame(180 + i)).image.astype(int) for i in range(int(30 * IDLE_EASE) + 3)]
    assert np.abs(after[0] - shown[-1]).mean() < 0.4
    assert np.array_equal(after[-1], rest)
    assert not pipeline.state()["idle"]


def test_a_driver_ends_the_idling_without_a_jump(model: HybridModel) -> None:
    pipeline, shown = idling(model, 6)
    neutral = turned()
    pipeline.retarget.calibrate(neutral)
    after = [pipeline.play(frame(180 + i), neutral).image.astype(int) for i in range(20)]
    steps = [float(np.abs(b - a).mean()) for a, b in pairwise([shown[-1], *after])]
    assert max(steps) < 0.8


def test_motion_is_not_lost_when_time_stands_still_or_jumps(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, driver=Sees(turned(yaw=15), 1000))
    for i in (0, 0, 1, 2, 9000, 9001, 5):
        shown = pipeline.step(frame(i)).image
        assert shown.std() > 10


def test_a_view_turns_the_avatar_and_adds_to_the_motion(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, view=View(20, 0))
    right = pipeline.step(frame(0)).image
    pipeline.set_view(View(-20, 0))
    left = pipeline.step(frame(1)).image
    assert np.abs(right.astype(int) - left).mean() > 4
    assert pipeline.state()["view"] == {"yaw": -20, "pitch": 0}
    motion = still_motion()
    assert seen_from(motion, View()) is motion
    assert seen_from(motion, View(10, 0)).pose.rotation[0, 2] > 0.1


def test_a_new_light_fades_in(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, light="flat")
    before = pipeline.step(frame(0)).image.astype(int)
    pipeline.set_light("split")
    shown = [pipeline.step(frame(i)).image.astype(int) for i in range(1, 12)]
    end = Pipeline(model, size=SIZE, light="split").step(frame(0)).image
    assert np.abs(shown[-1] - end).mean() < 0.5
    assert 0 < np.abs(shown[0] - before).mean() < np.abs(end.astype(int) - before).mean()
    assert pipeline.state()["light"] == "split"


def test_a_grade_is_seen_within_two_frames_and_reported(model: HybridModel) -> None:
    for light in ("original", "rembrandt"):
        pipeline = Pipeline(model, size=SIZE, light=light)
        before = pipeline.step(frame(0)).image.astype(int)
        pipeline.set_grade(exposure=-1.0)
        pipeline.set_grade(warmth=40, turn=30)
        shown = [pipeline.step(frame(i)).image.astype(int) for i in range(1, 16)]
        whole = np.abs(shown[-1] - before).mean()
        assert np.abs(shown[1] - before).mean() > 0.5 * whole > 5
        assert np.array_equal(shown[-1], shown[-2])
        end = Pipeline(model, size=SIZE, light=light, grade=Grade(-1, 40, 30)).step(frame(0)).image
        assert np.abs(shown[-1] - end).max() <= 1
        state = pipeline.state()
        assert (state["exposure"], state["warmth"], state["turn"]) == (-1, 40, 30)


def test_nothing_pops_on_the_way_from_the_own_light_and_back(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE)
    shown = [pipeline.step(frame(0)).image.astype(int)]
    for n, light in enumerate(("rembrandt", "original")):
        pipeline.set_light(light)
        shown += [pipeline.step(frame(17 * n + i)).image.astype(int) for i in range(1, 18)]
    steps = np.array([np.abs(b - a).mean() for a, b in pairwise(shown)])
    for fade in (steps[:17], steps[17:]):
        assert fade[0] == fade.max() < 0.5 * fade.sum()  # most at first, less and less, and no jump where it ends
        assert fade[8:].max() < 0.15 * fade.max()
    assert np.array_equal(shown[-1], shown[0])


def test_relighters_keep_what_they_know_while_nothing_changes(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, light="loop", grade=Grade(0.5, 20, 40))
    lights = []
    relighter = pipeline.relighter
    pipeline.relighter = lambda gbuffer, lighting: (lights.append(lighting), relighter(gbuffer, lighting))[1]
    for i in range(4):
        pipeline.step(frame(i))
    assert len({id(light) for light in lights}) == 1


def test_a_light_made_elsewhere_is_taken_and_named(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE)
    before = pipeline.step(frame(0)).image.astype(int)
    pipeline.set_light(Lighting("upload:7", ambient(0.4)))
    assert pipeline.state()["light"] == "upload:7"
    assert np.abs(pipeline.step(frame(1)).image - before).mean() > 3


def test_a_light_made_already_is_shown_under_its_name(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, light=replace(sun(-60, 10), name="image:me.jpg"))
    named = Pipeline(model, size=SIZE, light="sun:-60,10")
    assert np.array_equal(pipeline.step(frame(0)).image, named.step(frame(0)).image)
    assert pipeline.state()["light"] == "image:me.jpg"


def test_light_from_the_left_brightens_the_left(model: HybridModel) -> None:
    left, right = (
        Pipeline(model, size=SIZE, light=f"sun:{az},10").step(frame(0)).image.astype(int) for az in (-60, 60)
    )
    face = np.s_[SIZE // 3 : 2 * SIZE // 3]
    middle = SIZE // 2
    assert (left - right)[face, SIZE // 3 : middle].mean() > 10
    assert (right - left)[face, middle : 2 * SIZE // 3].mean() > 10


def test_what_cannot_be_used_is_refused_at_once_and_changes_nothing(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, light="loop")
    before = pipeline.step(frame(0)).image
    with pytest.raises(LightError):
        pipeline.set_light("noir")
    with pytest.raises(LightError):
        pipeline.set_light("webcam")
    for background in ("forest", "#12345", "#gggggg", "transparent"):
        with pytest.raises(NarrateError):
            pipeline.set_background(background)
    assert np.array_equal(pipeline.step(frame(1)).image, before)
    assert pipeline.state()["light"] == "loop"
    with pytest.raises(DeviceError):
        Pipeline(model, size=SIZE, device="cuda:99")


def test_backgrounds(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, background="#00ff00")
    shown = pipeline.step(frame(0)).image
    assert (shown[2, 2] == [0, 255, 0]).all()
    pipeline.set_background("blur")
    for i in range(1, 15):  # it is eased
        blurred = pipeline.step(frame(i)).image
    assert (blurred[2, 2] != [0, 255, 0]).any()
    face = np.s_[SIZE // 2 - 4 : SIZE // 2 + 4, SIZE // 2 - 4 : SIZE // 2 + 4]
    assert np.array_equal(blurred[face], shown[face])


def test_a_turn_beyond_the_limits_is_disclosed(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, driver=Sees(turned(yaw=55, pitch=10), 40))
    for i in range(40):
        pipeline.step(frame(i))
    state = pipeline.state()
    assert set(state["held_back"]) == {"yaw"}
    assert state["pose"]["yaw"] + state["held_back"]["yaw"] == pytest.approx(55, abs=0.3)
    pipeline.step(frame(40))
    assert pipeline.state()["held_back"] == {}  # nobody is there who could be held back


@pytest.mark.parametrize("transfer", ["mesh", "first-order"])
def test_a_way_beyond_the_limits_is_disclosed(model: HybridModel, transfer: Literal["mesh", "first-order"]) -> None:
    pipeline = Pipeline(model, size=SIZE, transfer=transfer)
    calm = neutral_motion()
    pipeline.rehearse([], [calm], 30)
    near = replace(calm, translation=calm.translation + np.float32([0, 0, 30]))
    for i in range(30):
        pipeline.play(frame(i), near)
    held = pipeline.state()["held_back"]
    assert set(held) == {"z"}
    assert 15 < held["z"] < 30


def test_calibrating_takes_the_next_face_for_the_neutral(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, driver=Sees(turned(yaw=18), 1000))
    for i in range(20):
        pipeline.step(frame(i))
    assert pipeline.state()["pose"]["yaw"] == pytest.approx(18, abs=1)
    pipeline.calibrate()
    for i in range(20, 50):
        pipeline.step(frame(i))
    assert pipeline.state()["pose"]["yaw"] == pytest.approx(0, abs=0.5)
    assert pipeline.state()["calibration"]["by_hand"]


def test_a_neutral_is_found_while_it_plays_and_told(model: HybridModel) -> None:
    pipeline, calm = Pipeline(model, size=SIZE), neutral_motion()
    aside = replace(calm, rotation=turned(yaw=-14).rotation)
    scores = []
    for i in range(120):
        pipeline.play(frame(i), aside if i < 30 else calm)
        scores.append(pipeline.state()["calibration"]["score"])
        if i == 29:
            assert pipeline.state()["pose"]["yaw"] == pytest.approx(0, abs=0.5)  # its first moment stands for rest
    assert pipeline.state()["pose"]["yaw"] == pytest.approx(0, abs=1.0)  # and now its frontal one does
    assert scores[-1] > 0.8 > scores[10]
    assert not pipeline.state()["calibration"]["by_hand"]


def test_a_clip_that_was_seen_before_needs_no_calibration(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE)
    pipeline.rehearse([], [turned(yaw=9)], 30)
    pipeline.play(frame(0), turned(yaw=9))
    assert pipeline.state()["calibration"] is None
    assert pipeline.state()["pose"]["yaw"] == pytest.approx(0, abs=0.3)


def test_the_drivers_room_lights_the_avatar(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=SIZE, driver=Sees(turned(), 1000), light="webcam")
    shown = pipeline.step(frame(0)).image
    assert shown.std() > 10
    assert pipeline.state()["light"] == "webcam"


def test_a_whole_portrait_is_shown_when_asked(model: HybridModel) -> None:
    pipeline = Pipeline(model, size=200, framing="portrait")
    assert pipeline.size == (200, 200)
    assert pipeline.step(frame(0)).image.shape == (200, 200, 3)
