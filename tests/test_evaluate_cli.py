"""`narrate eval`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from narrate_stream.cli import main
from offline.evaluate.motion import Result
from offline.evaluate.run import Table

ROW = {"<5": 9.1, "<15": 55.7, "<25": 88.2, "<30": 93.9, "mean": 15.1, "median": 13.8}


@pytest.mark.parametrize("command", ["normals", "relight", "views"])
def test_data_that_is_not_there(command: str, tmp_path: Path, sentence: Callable[[], str]) -> None:
    assert main(["eval", command, str(tmp_path / "none")]) == 1
    assert "none: there is no such folder" in sentence()
    (tmp_path / "file").write_text("")
    assert main(["eval", command, str(tmp_path / "file")]) == 1
    assert "is a file" in sentence()


@pytest.mark.parametrize(
    ("command", "why"), [("normals", "no subjects"), ("relight", "no subjects"), ("views", "not an ICT FaceKit")]
)
def test_an_empty_folder(command: str, why: str, tmp_path: Path, sentence: Callable[[], str]) -> None:
    assert main(["eval", command, str(tmp_path)]) == 1
    assert why in sentence()


@pytest.mark.parametrize(
    "arguments",
    [["eval", "normals"], ["eval", "motion"], ["eval", "nothing", "x"], ["eval", "views", "x", "--limit", "0"]],
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_motion_wants_clips(tmp_path: Path, sentence: Callable[[], str]) -> None:
    folders = [str(tmp_path / "none"), str(tmp_path)]
    for folder, why in zip(folders, ("there is no such folder", "holds no clip"), strict=True):
        assert main(["eval", "motion", "--clips", folder]) == 1
        assert why in sentence()


def test_motion_prints_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    done = Result(failed={"b": "b.mp4: no face"}, sheet=[np.zeros((4, 8, 3), np.uint8)] * 2)
    done.add("self", "avatar", "a", {"psnr": 25.3, "gaze": float("nan")})
    asked: list[Any] = []
    monkeypatch.setattr("offline.evaluate.motion.evaluate_motion", lambda *a, **k: asked.append((a, k)) or done)
    monkeypatch.setattr("offline.stills.load_or_build", lambda path: f"model of {path.name}")
    out, sheet = tmp_path / "out.json", tmp_path / "out.png"
    options = ["--clips", str(tmp_path), "--json", str(out), "--sheet", str(sheet)]
    assert main(["eval", "motion", "m.narrate", *options]) == 0
    assert asked[0][0] == ([tmp_path / "a.mp4"], {"m": "model of m.narrate"})
    shown = capsys.readouterr()
    assert "self: mean over 1 cases" in shown.out
    assert "25.30" in shown.out
    assert "b is left out: b.mp4: no face" in shown.err
    written = json.loads(out.read_text())
    assert written["cases"]["self"]["avatar"]["a"] == {"psnr": 25.3, "gaze": None}
    assert sheet.exists()


def test_outputs_are_refused_before_the_work(tmp_path: Path, sentence: Callable[[], str]) -> None:
    assert main(["eval", "normals", str(tmp_path), "--json", str(tmp_path / "no" / "x.json")]) == 1
    assert "there is no directory" in sentence()
    assert main(["eval", "views", str(tmp_path), "--sheet", str(tmp_path / "x.txt")]) == 1
    assert "must end in .png" in sentence()


@pytest.mark.parametrize("command", ["normals", "relight"])
def test_a_table(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ROW if command == "normals" else {"ssim": 0.588, "psnr": 18.51, "rmse": float("nan")}
    table = Table({"weight-free": row}, {"weight-free": {"yaleB77": row}}, {"yaleB78": "no face"})
    asked: list[Any] = []
    monkeypatch.setattr("offline.evaluate.datasets.read_samples", lambda data, limit: asked.append((data, limit)))
    monkeypatch.setattr(f"offline.evaluate.run.{command}_table", lambda samples: iter([table]))
    out = tmp_path / "out.json"
    assert main(["eval", command, str(tmp_path), "--limit", "3", "--json", str(out)]) == 0
    assert asked == [(tmp_path, 3)]
    shown = capsys.readouterr()
    assert "mean over 1 subjects, 1 could not be built: yaleB78" in shown.out
    assert ("15.1" if command == "normals" else "18.51") in shown.out
    assert "yaleB77" in shown.err
    told = json.loads(out.read_text())
    assert told["eval"] == command
    assert told["failed"] == {"yaleB78": "no face"}
    assert told["rows"]["weight-free"].get("rmse", 0) == (None if command == "relight" else 0)


def test_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from offline.evaluate import views

    asked: dict[str, Any] = {}

    def evaluate_views(data: Path, *, sheet: list[Any] | None, progress: Any, **options: Any) -> Any:
        asked.update(options)
        progress("sitter 0")
        if sheet is not None:
            sheet += [np.zeros((4, 8, 3), np.uint8)] * 2
        return {"weight-free": {"yaw +10": {"psnr": 27.5}, "mean": {"psnr": 27.5}}}

    monkeypatch.setattr(views, "evaluate_views", evaluate_views)
    files = tmp_path / "s.png", tmp_path / "v.json"
    options = ["--quick", "--sheet", str(files[0]), "--json", str(files[1])]
    assert main(["eval", "views", str(tmp_path), *options]) == 0
    assert asked == {"sitters": views.QUICK_SITTERS, "angles": views.QUICK}
    assert "27.50" in capsys.readouterr().out
    assert files[0].stat().st_size > 50
    assert json.loads(files[1].read_text())["rows"]["weight-free"]["mean"]["psnr"] == 27.5
    assert main(["eval", "views", str(tmp_path), "--limit", "4"]) == 0
    assert asked == {"sitters": 4, "angles": views.ANGLES}


@pytest.mark.parametrize("command", ["shading", "consistency"])
def test_light_on_models(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def evaluated(models: Any, *, progress: Any, sheet: Any = None, **options: Any) -> Any:
        asked.update(options, models=models)
        progress("one done")
        if sheet is not None:
            sheet.append(np.zeros((4, 8, 3), np.uint8))
        rows = {"split": {"live": 31.25, "residual": 1.25}, "mean": {"live": 31.25, "residual": 1.25}}
        return {"models": rows, "views": rows, "lights": rows} if command == "shading" else {"live": rows}

    monkeypatch.setattr(f"offline.evaluate.{command}.evaluate_{command}", evaluated)
    monkeypatch.setattr("narrate_stream.cli.evaluate.open_model", lambda path: path.name)
    files = tmp_path / "s.png", tmp_path / "c.json"
    models = ["a.narrate", "b.narrate", "x/b.narrate"]
    more = ["--sheet", str(files[0]), "--size", "128"] if command == "shading" else ["--frames", "12"]
    assert main(["eval", command, *models, "--lights", "split", "sun:1,2", "--json", str(files[1]), *more]) == 0
    assert asked["models"] == {"a": "a.narrate", "b.narrate": "b.narrate", "x/b.narrate": "b.narrate"}
    assert asked["lights"] == ["split", "sun:1,2"]
    assert asked.get("size", 128) == 128
    assert asked.get("frames", 12) == 12
    shown = capsys.readouterr()
    assert "31.25" in shown.out or "1.25" in shown.out
    assert "one done" in shown.err
    told = json.loads(files[1].read_text())
    assert told["eval"] == command
    assert files[0].exists() == (command == "shading")


@pytest.mark.parametrize("arguments", [["shading"], ["consistency"], ["consistency", "x", "--frames", "2"]])
def test_wrong_usage_on_models(arguments: list[str]) -> None:
    assert main(["eval", *arguments]) == 2


@pytest.mark.parametrize("command", ["shading", "consistency"])
def test_a_model_that_is_not_there(command: str, tmp_path: Path, sentence: Callable[[], str]) -> None:
    assert main(["eval", command, str(tmp_path / "none.narrate")]) == 1
    assert "none.narrate: there is no such file" in sentence()
