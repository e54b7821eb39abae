"""The model's one file: a round trip, and nothing but a clear error for every file that is not whole and ours."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from narrate_stream.bundle import HybridModel, load_model, save_model
from narrate_stream.errors import BundleError


@pytest.fixture(scope="module")
def saved(model: HybridModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "me.narrate"
    save_model(model, path)
    return path


def header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    return dict(json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["narrate"]))


def rewritten(saved: Path, path: Path, manifest: dict[str, Any] | None = None, **tensors: Any) -> Path:
    """The same file with other values; None takes an entry away."""
    data = saved.read_bytes()
    parts = {**load(data), **tensors}
    about = {**header(data), **(manifest or {})}
    about = {k: v for k, v in about.items() if v is not None}
    path.write_bytes(
        save({k: np.asarray(v) for k, v in parts.items() if v is not None}, {"narrate": json.dumps(about)})
    )
    return path


def test_what_is_saved_is_loaded(model: HybridModel, saved: Path) -> None:
    again = load_model(saved)
    for field in fields(HybridModel):
        value, found = getattr(model, field.name), getattr(again, field.name)
        if field.name in ("plate", "backdrop"):  # JPEG
            assert np.abs(value.astype(int) - found).mean() < 2
        elif isinstance(value, np.ndarray):
            assert found.dtype == value.dtype, field.name
            assert np.array_equal(found, value), field.name
        else:
            assert found == value, field.name


def test_a_residual_is_kept_and_may_be_absent(model: HybridModel, saved: Path, tmp_path: Path) -> None:
    residual = np.random.default_rng(1).integers(0, 256, (9, 7, 27), dtype=np.uint8)
    save_model(replace(model, residual=residual), tmp_path / "learned.narrate")
    assert np.array_equal(load_model(tmp_path / "learned.narrate").residual, residual)
    older = rewritten(
        saved, tmp_path / "older.narrate", {"residual": None}, residual=None
    )  # as written before there was one
    assert "residual" not in header(older.read_bytes())
    assert load_model(older).residual is None
    with pytest.raises(BundleError, match="residual"):
        load_model(rewritten(saved, tmp_path / "x.narrate", {"residual": "a word"}, residual=None))


def test_the_file_is_small_and_leaves_no_other(saved: Path) -> None:
    assert saved.stat().st_size < 25e6
    assert [p.name for p in saved.parent.iterdir()] == ["me.narrate"]


def test_a_place_that_cannot_be_written_is_said_so(model: HybridModel, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be written"):
        save_model(model, tmp_path / "absent" / "me.narrate")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.99, 0.9999])
def test_a_truncated_file_is_an_error(saved: Path, tmp_path: Path, share: float) -> None:
    data = saved.read_bytes()
    path = tmp_path / "half.narrate"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BundleError, match=r"half\.narrate"):
        load_model(path)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 a zip", b"\xff" * 64, b"\x80\x04\x95 a pickle", save({"x": np.zeros(3)})]
)
def test_a_foreign_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.narrate"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"other\.narrate: .*not a narrate model"):
        load_model(path)


def test_absent_files_and_directories_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no such file"):
        load_model(tmp_path / "absent.narrate")
    with pytest.raises(BundleError):
        load_model(tmp_path)


def test_another_version_says_build_it_again(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"version 99.*build it again"):
        load_model(rewritten(saved, tmp_path / "x.narrate", {"version": 99}))


@pytest.mark.parametrize(
    "tensors",
    [
        {"triangles": np.full((4, 3), 10**6, np.int32)},
        {"triangles": np.full((4, 3), -1, np.int32)},
        {"triangles": np.zeros((4, 2), np.int32)},
        {"triangles": np.zeros((4, 3), np.float32)},
        {"vertices": np.zeros((5, 3), np.float32)},
        {"rig_index": None},
        {"rig_value": np.zeros(3, np.float32)},
        {"neutral": np.full((478, 3), np.nan, np.float32)},
        {"neutral": np.zeros((468, 3), np.float32)},
        {"rotation": np.eye(4, dtype=np.float32)},
        {"horizons": np.zeros((4, 4), np.uint8)},
        {"material": np.zeros((4, 4), np.uint8)},
        {"texture": np.zeros(100, np.uint8)},
        {"alpha": np.frombuffer(b"GIF89a", np.uint8)},
        {"light": np.full(9, np.inf, np.float32)},
        {"head_weight": np.zeros(1, np.float32)},
        {"residual": np.zeros((4, 4, 9), np.uint8)},
        {"residual": np.zeros((4, 27), np.uint8)},
        {"residual": np.zeros((4, 4, 27), np.float32)},
        {"residual": np.zeros((0, 4, 27), np.uint8)},
    ],
    ids=lambda t: "-".join(t),
)
def test_parts_that_do_not_fit_are_an_error(saved: Path, tmp_path: Path, tensors: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"x\.narrate"):
        load_model(rewritten(saved, tmp_path / "x.narrate", **tensors))


@pytest.mark.parametrize(
    "manifest",
    [
        {"camera": [1.0]},
        {"camera": None},
        {"camera": "abc"},
        {"crop": None},
        {"frame_size": 3},
        {"frame_size": ["a", "b"]},
        {"name": None},
    ],
    ids=str,
)
def test_a_wrong_manifest_is_an_error(saved: Path, tmp_path: Path, manifest: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"x\.narrate"):
        load_model(rewritten(saved, tmp_path / "x.narrate", manifest))


def survives(path: Path) -> bool:
    """Whether a model is loaded; any other failure than BundleError fails the test."""
    try:
        load_model(path)
    except BundleError:
        return False
    return True


def test_random_damage_never_raises_anything_else(saved: Path, tmp_path: Path) -> None:
    """Damage inside a picture or in a number's low bits may pass; whatever fails must fail as BundleError."""
    data, chance = saved.read_bytes(), np.random.default_rng(0)
    path = tmp_path / "damaged.narrate"
    failed = 0
    for i in range(24):
        broken = bytearray(data)
        limit = 6000 if i % 2 else len(data)
        for at in chance.integers(0, limit, 8):
            broken[at] ^= int(chance.integers(1, 256))
        path.write_bytes(broken)
        failed += not survives(path)
    assert failed > 4


def test_a_model_with_a_changed_name_is_another_file(model: HybridModel, tmp_path: Path) -> None:
    save_model(replace(model, name="ünïcode"), tmp_path / "a.narrate")
    assert load_model(tmp_path / "a.narrate").name == "ünïcode"
