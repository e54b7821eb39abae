"""The U-Net of F_N, F_A and F_R (NARRATE 4.3; Total Relighting 3.2), small enough for two cores, and its file.

It works at half resolution between a space-to-depth stem and a depth-to-space end: nothing of the picture is lost, and
the dear full-resolution layers are. Measured on two AVX2 cores, batch 16, 128 px, fp32: a third more images a second
than the same net with full-resolution last layers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from narrate_stream.errors import NarrateError
from narrate_stream.files import write_bytes

FORMAT = 1
GROUPS = 8


class NetworkError(NarrateError):
    """A file of network weights is missing, damaged, or of another version."""


@dataclass(frozen=True)
class Architecture:
    """What a network is made of. task: normals, albedo or relight; channels in and out; widths of the levels at 1/2,
    1/4, 1/8, ... of the picture; fine: channels of the last hidden layer."""

    task: str
    inputs: int
    outputs: int
    widths: tuple[int, ...] = (32, 64, 128, 256)
    fine: int = 24


CHANNELS = {"normals": (7, 4), "albedo": (7, 3), "relight": (16, 27)}
WIDTHS = {"relight": (24, 48, 96, 192)}  # what it adds is broad, and its data are few


def architecture_for(task: str) -> Architecture:
    """The shipped architecture of a task: normals, albedo or relight."""
    inputs, outputs = CHANNELS[task]
    usual = Architecture(task, inputs, outputs)
    return replace(usual, widths=WIDTHS.get(task, usual.widths))


class Block(nn.Module):
    """Two 3x3 convolutions beside an identity; statistics are of one sample, so a batch changes nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> the same."""
        return F.relu(x + self.second(F.relu(self.first(self.norm(x)), inplace=True)), inplace=True)


class UNet(nn.Module):
    """Fully convolutional; any height and width (padded inside to a multiple of the coarsest level)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        pairs = list(zip(a.widths, a.widths[1:], strict=False))
        self.stem = nn.Conv2d(4 * a.inputs, a.widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(Block(width) for width in a.widths)
        self.down = nn.ModuleList(nn.Conv2d(near, far, 2, 2) for near, far in pairs)
        self.up = nn.ModuleList(nn.Conv2d(far, near, 1) for near, far in pairs)
        self.decoder = nn.ModuleList(Block(width) for width in a.widths[:-1])
        self.fine = nn.Conv2d(a.widths[0] + 4 * a.inputs, a.fine, 3, padding=1)
        self.last = nn.Conv2d(a.fine, 4 * a.outputs, 3, padding=1)
        self._calm_start()

    def _calm_start(self) -> None:
        """Begin near zero (the heads add to a guess), the four sub-pixels alike (no chequer pattern to unlearn)."""
        with torch.no_grad():
            one = self.last.weight[::4] * 0.1
            self.last.weight.copy_(one.repeat_interleave(4, 0))
            self.last.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W), raw; `nets.heads` gives the numbers their meaning."""
        height, width = x.shape[-2:]
        step = 2 ** len(self.architecture.widths)
        bottom, right = -height % step, -width % step
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom), mode="replicate")
        folded = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        return self._body(folded)[..., :height, :width].contiguous()

    def _body(self, folded: Tensor) -> Tensor:
        x, skips = self.stem(folded), []
        for encode, down in zip(self.encoder, self.down, strict=False):
            x = encode(x)
            skips.append(x)
            x = F.relu(down(x), inplace=True)
        x = self.encoder[-1](x)
        for k in reversed(range(len(self.up))):
            x = self.decoder[k](F.interpolate(self.up[k](x), scale_factor=2.0, mode="nearest") + skips[k])
        fine = F.relu(self.fine(torch.cat([x, folded], 1)), inplace=True)
        return F.pixel_shuffle(self.last(fine), 2)


def save_network(path: Path, network: UNet, facts: dict[str, Any]) -> None:
    """One safetensors file, fp16, the architecture and `facts` (JSON: steps, errors, hardware) in its metadata.
    Raises NarrateError when it cannot be written."""
    about = {"format": FORMAT, "architecture": asdict(network.architecture), "facts": facts}
    tensors = {name: t.detach().to("cpu", torch.float16).contiguous() for name, t in network.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"narrate": json.dumps(about)}))


def read_about(path: Path) -> dict[str, Any]:
    """{format, architecture, facts} of a weights file. Raises NetworkError."""
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads((file.metadata() or {})["narrate"])
    except FileNotFoundError as error:
        raise NetworkError(f"{path}: there is no such file of network weights") from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise NetworkError(f"{path} is not a file of narrate-stream's network weights, or it is damaged") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise NetworkError(f"{path} holds network weights of another version; this release reads format {FORMAT}")
    return about


def load_network(path: Path) -> UNet:
    """The network, fp32 on the CPU, ready to run (eval). Raises NetworkError, one sentence naming file and cause."""
    about = read_about(path)
    try:
        parts = dict(about["architecture"])
        parts["widths"] = tuple(parts["widths"])
        network = UNet(Architecture(**parts))
        with safe_open(str(path), "pt") as file:
            network.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise NetworkError(f"{path} is damaged: its weights do not fit the network it describes") from error
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]
