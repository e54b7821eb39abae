"""Reading the data sets, and the tables over them, on little sets made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from narrate_stream.errors import NarrateError, PortraitError
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import shade_normals, stage_directions
from offline.evaluate import heldout, yale
from offline.evaluate.datasets import read_samples
from offline.evaluate.metrics import angles_between
from offline.evaluate.predict import LIGHT_ONLY, VARIANTS, Prediction, available, coarse_normals, predict
from offline.evaluate.run import normals_table, relight_table
from offline.evaluate.samples import ENLARGED, Sample

W, H = 84, 96
LIGHTS = [(a, e) for a in (-70, -50, -25, 0, 25, 50, 70) for e in (0, 20, 45)]


def dome() -> np.ndarray:
    """Normals (H, W, 3) of a gently bulging face."""
    y, x = np.mgrid[0.6 : -0.6 : H * 1j, -0.6 : 0.6 : W * 1j]
    n = np.stack([x, y, np.ones_like(x)], -1)
    return n / np.linalg.norm(n, axis=-1, keepdims=True)


@pytest.fixture
def yale_folder(tmp_path: Path) -> Path:
    """One subject in the set's own names: linear bytes of a dome; azimuth grows toward the image's left."""
    folder = tmp_path / "yaleB77"
    folder.mkdir()
    for az, el in LIGHTS:
        a, e = np.radians([az, el])
        light = np.array([-np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
        level = np.clip(dome() @ light, 0, None) * 0.7
        cv2.imwrite(str(folder / f"yaleB77_P00A{az:+04d}E{el:+03d}.pgm"), (level * 255 + 0.5).astype(np.uint8))
    cv2.imwrite(str(folder / "yaleB77_P00_Ambient.pgm"), np.zeros((H, W), np.uint8))
    return tmp_path


def test_yale_subject(yale_folder: Path) -> None:
    (sample,) = read_samples(yale_folder)
    assert sample.name == "yaleB77"
    assert sample.picture.image.shape == (H * ENLARGED, W * ENLARGED, 3)
    assert sample.mask.mean() > 0.4
    assert angles_between(sample.normal, dome())[sample.mask].max() < 1
    assert [t.name for t in sample.targets] == [
        "A+000E+20", "A+000E+45", "A+025E+00", "A-025E+00", "A+050E+00", "A-050E+00", "A+070E+00", "A-070E+00",
        "A+070E+45", "A-070E+45",
    ]  # fmt: skip


def test_a_target_s_light_comes_from_the_side_that_is_bright(yale_folder: Path) -> None:
    (sample,) = read_samples(yale_folder)
    (target,) = (t for t in sample.targets if t.name == "A+050E+00")
    assert target.real[:, : W // 2].mean() > target.real[:, W // 2 :].mean()
    assert target.lighting.directions[0][0] < -0.7


def test_torn_and_foreign_files_are_left_out(yale_folder: Path) -> None:
    folder = yale_folder / "yaleB77"
    rng = np.random.default_rng(0)
    even, odd = (cv2.GaussianBlur(rng.uniform(0, 255, (H, W)), (0, 0), 3).astype(np.uint8) for _ in range(2))
    woven = np.where(np.arange(H)[:, None] % 2, odd // 2, even // 2 + 110).astype(np.uint8)
    assert yale.torn(woven)
    assert not yale.torn(even)
    cv2.imwrite(str(folder / "yaleB77_P00A+025E+20.pgm"), woven)
    (folder / "yaleB77_P00A+050E+20.pgm").write_bytes(b"nothing")
    cv2.imwrite(str(folder / "yaleB77_P00A+070E+20.pgm"), np.zeros((10, 10), np.uint8))
    assert set(yale.read_photographs(folder)) == set(LIGHTS) - {(25, 20), (50, 20), (70, 20)}


def test_without_frontal_light(yale_folder: Path) -> None:
    (yale_folder / "yaleB77" / "yaleB77_P00A+000E+00.pgm").write_bytes(b"")
    with pytest.raises(NarrateError, match="frontal light"):
        list(read_samples(yale_folder))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of three samples; the last is the one to be read, and its second face was not found."""
    lights = stage_directions().astype(np.float32)
    np.save(tmp_path / "lights.npy", lights)
    for number in range(2):
        s, n = 16, 3
        normal = np.zeros((n, s, s, 3), np.int8)
        normal[..., 2] = 127
        label = np.zeros((n, s, s), np.uint8)
        label[:, 4:12, 4:12] = 1
        light = np.zeros((n, 2, 114, 3), np.float16)
        light[:, 0, 5], light[:, 1, 40] = np.pi, [np.pi, 0, 0]
        save_file(
            {
                "image": np.full((n, 2, s, s, 3), 100 + number, np.uint8),
                "light": light,
                "normal": normal,
                "label": label,
                "found": np.array([1, 0, 1], np.uint8),
            },
            tmp_path / f"shard_{number:05d}.safetensors",
        )
    return tmp_path


def test_the_last_shard_is_held_out(shards: Path) -> None:
    samples = list(read_samples(shards))
    assert [s.name for s in samples] == ["shard_00001:0", "shard_00001:2"]
    first = samples[0]
    assert first.picture.image[0, 0, 0] == 101
    assert first.mask.sum() == 64
    assert len(list(read_samples(shards, 1))) == 1
    (target,) = first.targets
    assert target.lighting.directions == pytest.approx(stage_directions()[[40]], abs=1e-6)
    facing = stage_directions()[40][None]
    assert shade_normals(target.lighting, facing)[0] == pytest.approx([1, 0, 0], abs=0.05)


def test_a_shard_that_is_none(shards: Path) -> None:
    save_file({"image": np.zeros(3, np.uint8)}, shards / "shard_00009.safetensors")
    with pytest.raises(NarrateError, match=r"shard_00009.*found, label, light, normal missing"):
        read_samples(shards)
    (shards / "shard_00009.safetensors").write_bytes(b"damaged")
    with pytest.raises(NarrateError, match="cannot be read"):
        read_samples(shards)


def test_folders_without_data(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for path, why in ((tmp_path, "no subjects"), (tmp_path / "y", "no such folder"), (tmp_path / "x", "is a file")):
        with pytest.raises(NarrateError, match=why):
            read_samples(path)
    assert heldout.shard_files(tmp_path) == []


# ------------------------------------------------------------------ tables


def off_by(degrees: float) -> Any:
    """A predictor whose every normal is the dome's, enlarged, turned by an angle about the vertical."""

    def predictor(sample: Sample, variant: str) -> Prediction:
        big = cv2.resize(dome(), None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_LINEAR)
        turned = big @ rotation_from_angles(0 if variant == "flat" else degrees, 0, 0).T
        return Prediction(turned, None)

    return predictor


def test_normals_table(yale_folder: Path) -> None:
    (table,) = normals_table(read_samples(yale_folder), predictor=off_by(10))
    assert set(table.rows) == set(available()) - set(LIGHT_ONLY)
    assert table.rows["flat"]["<5"] == 100
    wrong = table.rows["weight-free"]
    assert (wrong["<5"], wrong["<15"]) == (0, 100)
    assert 8 < wrong["mean"] < 11  # what tilts up turns by a little less about the vertical
    assert table.subjects["coarse"]["yaleB77"] == table.rows["coarse"]


def test_what_cannot_be_built_is_named(yale_folder: Path) -> None:
    def refuse(sample: Sample, variant: str) -> Prediction:
        raise PortraitError("no human face")

    with pytest.raises(NarrateError, match="no subject could be measured: no human face"):
        list(normals_table(read_samples(yale_folder), predictor=refuse))


def test_relight_table(yale_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renderer that knows the dome comes near the truth; the photograph unchanged does not."""

    class Lambert:
        def __init__(self, model: Any) -> None:
            pass

        def __call__(self, lighting: Any) -> np.ndarray:
            from narrate_stream.ops.colour import srgb_from_linear

            level = np.clip(dome() @ lighting.directions[0], 0, None) * 0.4
            grey = srgb_from_linear(np.repeat(level[..., None], 3, -1)) * 255
            return cv2.resize(grey, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_LINEAR)

    monkeypatch.setattr("offline.evaluate.run.Relit", Lambert)
    predictor: Any = lambda sample, variant: Prediction(dome(), model="stub")  # noqa: E731
    (table,) = relight_table(read_samples(yale_folder), predictor=predictor)
    assert table.rows["weight-free"]["psnr"] > 25
    assert table.rows["weight-free"]["psnr"] > table.rows["input unchanged"]["psnr"] + 5
    assert table.rows["weight-free"]["ssim"] > 0.9


def test_the_networks_row_needs_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offline.evaluate.predict.load_networks", lambda: None)
    assert available() == ("flat", "coarse", "weight-free")
    monkeypatch.setattr("offline.evaluate.predict.load_networks", lambda: "weights")
    assert available() == VARIANTS


def test_flat_needs_no_build(yale_folder: Path) -> None:
    (sample,) = read_samples(yale_folder)
    flat = predict(sample, "flat")
    assert flat.model is None
    assert flat.normal.shape == sample.picture.image.shape
    assert flat.normal[5, 5].tolist() == [0, 0, 1]


def test_coarse_normals_lie_where_the_picture_has_them() -> None:
    """A depth map whose normals say where they are: picture pixel -> crop -> canvas -> depth map."""
    y, x = np.mgrid[:40, :50].astype(np.float64)
    made: Any = SimpleNamespace(
        model=SimpleNamespace(crop=(20.0, 10.0, 2.0)),
        surface=SimpleNamespace(scale=0.25, coarse=np.stack([x, y, x * 0], -1)),
    )
    found = coarse_normals(made, (120, 90))
    # picture pixel (60, 50): centre 60.5, 50.5 -> canvas (81, 81) -> map (20.25, 20.25) -> index 19.75
    assert found[50, 60, :2] == pytest.approx([19.75, 19.75], abs=0.05)


def test_the_light_without_its_network_is_the_same_model(yale_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Model:
        residual: str | None = "learned"

    made: Any = SimpleNamespace(model=Model())
    monkeypatch.setattr("offline.evaluate.predict.built", lambda sample, networks: made if networks else None)
    monkeypatch.setattr("offline.evaluate.predict.photograph_framing", lambda model: "framing")
    monkeypatch.setattr("offline.evaluate.predict.framed_normals", lambda model, framing: np.zeros((1, 1, 3)))
    (sample,) = read_samples(yale_folder)
    assert predict(sample, "networks").model is made.model
    assert predict(sample, "without F_R").model == Model(None)
