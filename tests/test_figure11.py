"""Figure 11: the sheet's rows, and what its command refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.script import ScriptDriver, ScriptSource, parse_script
from narrate_stream.media import FileSink
from narrate_stream.pipeline import Pipeline
from narrate_stream.types import Frame
from offline.figure11 import COLUMNS, SIZE, Take, main, sheet, squared


def turning(frames: int = 8) -> Take:
    """A head that comes to the front from 30 degrees and opens its mouth."""
    keys = [
        {
            "time": i / 30,
            "pose": {"yaw": 30 * (1 - i / (frames - 1))},
            "expression": {"jawOpen": 0.5 * i / (frames - 1)},
        }
        for i in range(frames)
    ]
    script = parse_script({"version": 1, "fps": 30, "frames": keys})
    driver = ScriptDriver(script)
    return [(f.with_image(squared(f.image)), driver(f)) for f in ScriptSource(script)]


def test_only_the_matched_rows_begin_in_the_drivers_pose(model: HybridModel) -> None:
    picture = sheet(model, turning())
    assert picture.shape == (4 * SIZE, COLUMNS * SIZE, 3)
    cells = picture.reshape(4, SIZE, COLUMNS, SIZE, 3).swapaxes(1, 2).astype(float)
    rest = Pipeline(model, size=SIZE).step(Frame(np.zeros((8, 8, 3), np.uint8))).image
    without, matched = (float(np.abs(cells[row, 0] - rest).mean()) for row in (1, 2))
    assert without < 1
    assert matched > 8
    assert np.abs(cells[3] - cells[2]).mean() > 8  # another light, another side


def test_a_clip_without_a_face_and_a_sheet_that_cannot_be_written(tmp_path: Path) -> None:
    with FileSink(tmp_path / "grey.mp4", (64, 64), 30) as sink:
        for i in range(3):
            sink.write(Frame(np.full((64, 64, 3), 90, np.uint8), 3000 * i))
    out = tmp_path / "sheet.png"
    done = CliRunner().invoke(main, ["m.narrate", str(tmp_path / "grey.mp4"), "-o", str(out)])
    assert done.exit_code == 1
    assert "grey.mp4: no face" in done.output
    assert not out.exists()
    done = CliRunner().invoke(main, ["m.narrate", str(tmp_path / "grey.mp4"), "-o", str(tmp_path / "sheet.mp4")])
    assert done.exit_code == 1
    assert "sheet.mp4 cannot be written" in done.output


@pytest.mark.parametrize("shape", [(90, 160), (160, 90), (64, 64)])
def test_the_middle_of_a_picture(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    picture[shape[0] // 2 - 5 : shape[0] // 2 + 5, shape[1] // 2 - 5 : shape[1] // 2 + 5] = 255
    found = squared(picture)
    assert found.shape == (SIZE, SIZE, 3)
    assert found[SIZE // 2, SIZE // 2].min() > 250
