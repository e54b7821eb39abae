"""The U-Net, its file of weights and its heads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from narrate_stream.errors import NarrateError
from narrate_stream.nets import heads
from narrate_stream.nets.unet import (
    CHANNELS,
    Architecture,
    NetworkError,
    UNet,
    architecture_for,
    load_network,
    read_about,
    save_network,
)

SMALL = Architecture("normals", 7, 4, widths=(8, 16, 16), fine=8)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(3)
    return UNet(SMALL).eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 96), (50, 37)])
def test_any_size_passes(network: UNet, height: int, width: int) -> None:
    assert network(torch.rand(2, 7, height, width)).shape == (2, 4, height, width)


def test_a_sample_does_not_depend_on_its_batch(network: UNet) -> None:
    x = torch.rand(3, 7, 32, 32)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("task", CHANNELS)
def test_the_shipped_networks_are_small(task: str) -> None:
    parameters = sum(p.numel() for p in UNet(architecture_for(task)).parameters())
    assert 1e6 < parameters < 2.5e6


def test_every_output_sees_the_whole_picture() -> None:
    x = torch.rand(1, 7, 128, 128, requires_grad=True)
    UNet(architecture_for("normals"))(x)[0, 0, 4, 4].backward()
    assert x.grad is not None
    assert float(x.grad[0, :, -16:, -16:].abs().sum()) > 0


def test_weights_come_back(network: UNet, tmp_path: Path) -> None:
    path = tmp_path / "normals.safetensors"
    save_network(path, network, {"steps": 12})
    again = load_network(path)
    assert again.architecture == SMALL
    assert not again.training
    assert read_about(path)["facts"] == {"steps": 12}
    x = torch.rand(1, 7, 64, 64)
    torch.testing.assert_close(again(x), network(x), atol=3e-3, rtol=1e-2)  # fp16 on disk


def test_bad_files_are_named(tmp_path: Path, network: UNet) -> None:
    missing, junk, foreign, other = (tmp_path / f"{name}.safetensors" for name in "abcd")
    junk.write_bytes(b"no weights at all")
    save_file({"x": torch.zeros(3)}, foreign)
    save_file({"x": torch.zeros(3)}, other, metadata={"narrate": json.dumps({"format": 99})})
    for path, word in (
        (missing, "no such file"),
        (junk, "damaged"),
        (foreign, "not a file"),
        (other, "another version"),
    ):
        with pytest.raises(NetworkError, match=word) as caught:
            load_network(path)
        assert str(path) in str(caught.value)
        assert isinstance(caught.value, NarrateError)


def test_a_truncated_or_mixed_up_file_is_refused(tmp_path: Path, network: UNet) -> None:
    path = tmp_path / "whole.safetensors"
    save_network(path, network, {})
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-200])
    mixed = tmp_path / "mixed.safetensors"
    about = {"format": 1, "architecture": {"task": "normals", "inputs": 7, "outputs": 4, "widths": [8, 16], "fine": 8}}
    save_file({"stem.weight": torch.zeros(3)}, mixed, metadata={"narrate": json.dumps(about)})
    for damaged in (cut, mixed):
        with pytest.raises(NetworkError, match="damaged"):
            load_network(damaged)


def test_normals_without_an_opinion_are_the_prior() -> None:
    prior = torch.zeros(1, 3, 4, 4)
    prior[0, :, :2] = torch.tensor([0.6, 0.0, 0.8]).view(3, 1, 1)
    normal, log_error = heads.normals_of(torch.zeros(1, 4, 4, 4), prior)
    torch.testing.assert_close(normal[0, :, 0, 0], torch.tensor([0.6, 0.0, 0.8]))
    torch.testing.assert_close(normal[0, :, 3, 3], torch.tensor([0.0, 0.0, 1.0]))
    assert math.isclose(float(log_error[0, 0, 0, 0]), heads.TYPICAL, abs_tol=1e-6)


def test_albedo_without_an_opinion_is_the_photograph() -> None:
    image = torch.rand(1, 3, 4, 4) * 0.8 + 0.1
    torch.testing.assert_close(heads.albedo_of(torch.zeros(1, 3, 4, 4), image), image)


def test_estimates_are_maps_of_the_photograph() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)
    mask, prior = np.ones((48, 40), np.float32), np.zeros((48, 40, 3), np.float32)
    normal, error = heads.estimate_normals(UNet(architecture_for("normals")).eval(), image, mask, prior)
    assert normal.shape == (48, 40, 3)
    assert error.shape == (48, 40)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)
    assert (error > 0).all()
    albedo = heads.estimate_albedo(UNet(architecture_for("albedo")).eval(), image, mask, normal)
    assert albedo.shape == image.shape
    assert 0 <= albedo.min() <= albedo.max() <= 1


def test_a_residual_is_bounded_and_nothing_without_an_opinion() -> None:
    raw = torch.tensor([-1e3, 0.0, 1e3]).view(1, 1, 1, 3).expand(1, 27, 1, 3)
    residual = heads.residual_of(raw)
    torch.testing.assert_close(residual[0, 0, 0], torch.tensor([-heads.LIMIT, 0.0, heads.LIMIT]))


def test_a_residual_is_asked_of_the_masked_face() -> None:
    """Nothing outside the mask reaches the network."""
    rng = np.random.default_rng(1)
    parts = [rng.random((16, 24, n), np.float32) for n in (3, 3, 9)]
    mask = np.zeros((16, 24), np.float32)
    mask[4:12, 6:18] = 1
    network = UNet(architecture_for("relight")).eval()
    answers = []
    for beyond in (0.0, 5.0):
        albedo, normal, transfer = (np.where(mask[..., None] > 0, p, np.float32(beyond)) for p in parts)
        answers.append(heads.estimate_residual(network, albedo, mask, normal, transfer))
    assert answers[0].shape == (16, 24, 27)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    assert np.abs(answers[0]).max() > 0
