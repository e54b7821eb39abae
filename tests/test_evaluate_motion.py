"""Reenactment measured end to end, on a clip that the built-in portrait acted itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_face import seen

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.script import ScriptDriver, ScriptSource, talking_script
from narrate_stream.errors import NarrateError, PortraitError
from narrate_stream.media import FileSink, FileSource
from narrate_stream.pipeline import Pipeline
from narrate_stream.types import Frame
from offline.build import build
from offline.evaluate import motion as module
from offline.evaluate.beside import HEIGHT
from offline.evaluate.clips import Judge, clips_in, read_clip
from offline.evaluate.motion import FORMATS, TILE, TILES, Result, evaluate_motion, moments, tile


@pytest.fixture(scope="module")
def folder(model: HybridModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody talking, and files that are no clips."""
    out = tmp_path_factory.mktemp("clips")
    script = talking_script(1.5, seed=4)
    pipeline = Pipeline(model, size=256, driver=ScriptDriver(script))
    with FileSink(out / "talk.mp4", pipeline.size, 30) as sink:
        for frame in ScriptSource(script):
            sink.write(pipeline.step(frame))
    (out / "films").mkdir()
    (out / "broken.mp4").write_bytes(b"no clip")
    (out / "notes.txt").write_text("not read")
    return out


@pytest.fixture(scope="module")
def result(folder: Path, model: HybridModel) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "build", lambda picture, size: SimpleNamespace(model=real_build(picture)))
        patch.setattr("offline.evaluate.stability.FRAMES", 10)
        patch.setattr("offline.evaluate.stability.SETTLE", 5)
        return evaluate_motion(clips_in(folder), {"astronaut": model}, sheet=True, videos=folder / "films")


def real_build(picture: Any) -> HybridModel:
    return build(picture, 384).model


def test_every_case_has_its_row(result: Result) -> None:
    assert set(result.tables) == {"self", "cross", "stability"}
    assert set(result.cases["self"]["avatar"]) == {"talk"}
    assert set(result.cases["cross"]["avatar"]) == {"astronaut by talk"}
    assert set(result.cases["stability"]) == {"self", "cross"}
    for table, rows in result.tables.items():
        for row in rows.values():
            assert set(FORMATS[table]) <= set(row)


def test_the_avatar_follows_and_a_still_picture_does_not(result: Result) -> None:
    for table in ("self", "cross"):
        still, avatar = result.tables[table]["still picture"], result.tables[table]["avatar"]
        assert still["failed"] == avatar["failed"] == 0
        assert still["mouth"] == 0
        assert avatar["mouth"] > 0.9
        assert 0.6 < avatar["x_mouth"] < 1.4
        assert avatar["akd"] < 0.8 * still["akd"]
        assert abs(avatar["lag"]) < 1
    assert result.tables["cross"]["still picture"]["akd_rel"] == pytest.approx(1, abs=0.02)
    assert result.tables["self"]["avatar"]["psnr"] > 20


def test_what_is_no_clip_is_named_and_left_out(result: Result) -> None:
    assert set(result.failed) == {"broken"}
    assert "broken.mp4" in result.failed["broken"]


def test_films_show_driver_and_avatar_and_the_avatar_lit_anew(result: Result, folder: Path) -> None:
    assert result.tables
    for name in ("self talk", "cross astronaut by talk"):
        film, clip = FileSource(folder / "films" / f"{name}.mp4"), FileSource(folder / "talk.mp4")
        frames = list(film)
        assert len(frames) == len(list(clip))
        assert film.size == (3 * HEIGHT, HEIGHT)
        driver, avatar, aside = np.split(frames[20].image.astype(float), 3, axis=1)
        assert np.abs(driver - avatar).mean() < 0.6 * np.abs(driver - aside).mean()  # who drives is who is driven
    assert not list((folder / "films").glob("*partial*"))


def test_the_sheet_shows_driver_over_avatar(result: Result) -> None:
    assert [line.shape for line in result.sheet] == [(2 * TILE, TILES * TILE, 3)] * 2
    top, bottom = result.sheet[0][:TILE], result.sheet[0][TILE:]
    assert np.abs(top.astype(int) - bottom).mean() < 30


def test_when_nothing_can_be_measured(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NarrateError, match=r"nothing could be measured: .*broken\.mp4"):
        evaluate_motion([folder / "broken.mp4"], {})

    def refuse(*_: Any) -> None:
        raise PortraitError("talk.mp4: too small")

    monkeypatch.setattr(module, "build", refuse)
    with pytest.raises(NarrateError, match="too small"):
        evaluate_motion([folder / "talk.mp4"], {})


def test_clips_of_a_folder(folder: Path, tmp_path: Path) -> None:
    assert [path.name for path in clips_in(folder)] == ["broken.mp4", "talk.mp4"]
    assert len(clips_in(folder, 1)) == 1
    with pytest.raises(NarrateError, match="holds no clip"):
        clips_in(tmp_path)
    with pytest.raises(NarrateError, match="there is no such folder"):
        clips_in(tmp_path / "none")
    with pytest.raises(NarrateError, match="is a file"):
        clips_in(folder / "talk.mp4")


def test_a_clip_without_a_face(tmp_path: Path) -> None:
    path = tmp_path / "wall.mp4"
    with FileSink(path, (64, 64), 30) as sink:
        for i in range(3):
            sink.write(Frame(np.full((64, 64, 3), 90, np.uint8), 3000 * i))
    judge = Judge()
    with pytest.raises(NarrateError, match=r"wall\.mp4: no face"):
        read_clip(path, judge)
    judge.close()


def test_telling_moments_are_chosen() -> None:
    frames = [seen()] * 40
    frames[7] = seen({"eyeBlinkLeft": 1, "eyeBlinkRight": 1})
    frames[21] = seen({"jawOpen": 0.9})
    frames[33] = seen(look=(1, 0))
    picks = moments(np.stack(frames))
    assert {7, 21, 33} <= set(picks)
    assert len(picks) == TILES
    assert picks == sorted(picks)
    gone = np.full((3, 478, 3), np.nan)
    gone[1] = seen()
    assert moments(gone) == [1]


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (100, 100)])
def test_tiles_are_squares(size: tuple[int, int]) -> None:
    assert tile(np.full((size[1], size[0], 3), 200, np.uint8)).shape == (TILE, TILE, 3)
