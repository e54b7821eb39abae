"""The showcase clip: it plays, it changes what it says it changes, and it leaves nothing when it cannot be written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import NarrateError
from narrate_stream.media import FileSource
from narrate_stream.pipeline import still_motion
from offline.showcase import SCENES, Scene, Show, ease, render_showcase

SIZE = 144
SHORT = (
    Scene(0.5, "original", "First", "a note"),
    Scene(0.5, "neon", "Second", "", swing=25),
    Scene(0.5, "orbit", "Third", ""),
)


@pytest.fixture(scope="module")
def show(model: HybridModel) -> Show:
    return Show(model, SIZE, SHORT)


def test_the_clip_is_written_and_told_of(model: HybridModel, tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []
    out = tmp_path / "show.mp4"
    render_showcase(model, out, lambda title, seconds: heard.append((title, seconds)), size=SIZE, scenes=SHORT)
    assert [title for title, _ in heard] == ["First", "Second", "Third"]
    assert min(seconds for _, seconds in heard) > 0
    clip = FileSource(out)
    frames = [frame.image for frame in clip]
    assert len(frames) == 45
    assert clip.fps == Fraction(30)
    assert clip.size == (SIZE + 112, SIZE)
    assert frames[0].mean() < 0.5 * frames[10].mean()  # from black
    assert frames[-1].mean() < 0.5 * frames[25].mean()  # to black
    assert [p.name for p in tmp_path.iterdir()] == ["show.mp4"]


@pytest.mark.parametrize("name", ["show.gif", "absent/show.mp4"])
def test_a_place_that_cannot_be_written_is_said_at_once(model: HybridModel, tmp_path: Path, name: str) -> None:
    with pytest.raises(NarrateError):
        render_showcase(model, tmp_path / name, size=SIZE, scenes=SHORT)
    assert not list(tmp_path.iterdir())


def test_lights_and_views_are_seen(show: Show) -> None:
    rest = still_motion()
    first = show.stage.shoot(SHORT[0], 0.25, rest)[:, -SIZE:].astype(int)
    neon = show.stage.shoot(SHORT[1], 0.0, rest)[:, -SIZE:].astype(int)
    turned = show.stage.shoot(SHORT[1], 0.125, rest)[:, -SIZE:].astype(int)
    assert np.abs(first - neon).mean() > 15
    assert np.abs(neon - turned).mean() > 4
    early, late = (show.stage.shoot(SHORT[2], t, rest)[SIZE // 3 : 2 * SIZE // 3, -SIZE:].mean(-1) for t in (0.1, 0.4))
    half = SIZE // 2
    assert early[:, :half].mean() > late[:, :half].mean()  # the sun goes from the image's left to its right
    assert early[:, half:].mean() < late[:, half:].mean()


def test_scenes_fade_into_each_other(show: Show) -> None:
    rest = still_motion()
    before, at, after = (show._picture(i, t, rest).astype(int) for i, t in ((0, 0.49), (1, 0.5), (1, 0.5 + 0.18)))
    assert np.abs(before - at).mean() < 0.5
    assert np.abs(after - at).mean() > 5


def test_the_panel_names_the_scene_and_shows_the_light(show: Show) -> None:
    rest = still_motion()
    a, b = (show.stage.shoot(scene, 0.2, rest)[:, :-SIZE].astype(int) for scene in SHORT[:2])
    words = np.s_[round(SIZE * 0.48) : round(SIZE * 0.64)]
    ball = np.s_[round(SIZE * 0.73) : round(SIZE * 0.9), : round(SIZE * 0.26)]
    assert np.abs(a - b)[words].max() > 60
    assert a[ball].max(-1).mean() > 40
    assert np.ptp(b[ball], axis=-1).max() > 60  # neon is colourful, the photograph's light is grey
    assert np.ptp(a[ball], axis=-1).max() < 20


def test_every_view_begins_and_ends_in_front() -> None:
    for scene in SCENES:
        for t in (0.0, scene.seconds):
            assert (scene.view(t).yaw, scene.view(t).pitch) == pytest.approx((0, 0), abs=1e-9)
    assert max(scene.view(t).yaw for scene in SCENES for t in np.linspace(0, scene.seconds, 50)) == pytest.approx(
        25, abs=0.2
    )
    assert 10 < sum(scene.seconds for scene in SCENES) < 15


def test_easing_is_smooth_and_bounded() -> None:
    values = [ease(t) for t in np.linspace(-1, 2, 301)]
    assert values[0] == 0
    assert values[-1] == 1
    assert (np.diff(values) >= 0).all()
