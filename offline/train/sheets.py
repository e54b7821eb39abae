"""Pictures of a training run: the curves, and a sheet of validation samples."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from narrate_stream.types import Image
from offline.train.tasks import Panel

WIDE, HIGH, EDGE = 900, 360, 60
INK, LINE, DOTS, GRID = (40, 40, 40), (36, 98, 178), (196, 84, 30), (225, 225, 225)
Points = list[tuple[float, float]]


def contact_sheet(panels: list[Panel], rows: int = 8) -> Image:
    """One row per sample, one column per panel (B, 3, H, W) 0..1, captions on top; RGB."""
    columns = []
    for caption, pictures in panels:
        shown = (pictures[:rows].detach().cpu().clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        title = np.full((18, shown.shape[2], 3), 255, np.uint8)
        cv2.putText(title, caption, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
        columns.append(np.concatenate([title, *shown], 0))
    return np.concatenate(columns, 1)


def curves(title: str, loss: list[float], every: int, measured: dict[str, Points], unit: str) -> Image:
    """The loss over the steps (means of `every` steps, logarithmic), and under it the measured errors; RGB."""
    smooth = [((i + 1.0) * every, value) for i, value in enumerate(loss)]
    last = max([x for x, _ in smooth] + [x for line in measured.values() for x, _ in line] + [1.0])
    upper = chart(f"{title}: training loss (log)", {"loss": [(x, float(np.log10(y + 1e-9))) for x, y in smooth]}, last)
    return np.concatenate([upper, chart(f"{title}: validation, {unit}", measured, last)], 0)


def chart(title: str, lines: dict[str, Points], last: float) -> Image:
    """One diagram, (HIGH, WIDE, 3): x from 0 to `last`."""
    canvas: NDArray[Any] = np.full((HIGH, WIDE, 3), 255, np.uint8)
    values = [y for points in lines.values() for _, y in points if np.isfinite(y)] or [0.0]
    low, high = min(values), max(values)
    high = high if high - low > 1e-6 else low + 1
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = place(0, low + share * (high - low), last, low, high)[1]
        cv2.line(canvas, (EDGE, y), (WIDE - EDGE // 2, y), GRID, 1)
        label(canvas, f"{low + share * (high - low):.3g}", (6, y + 4))
    label(canvas, f"{title}   ({last:.0f} steps)", (EDGE, 20))
    for k, (name, points) in enumerate(lines.items()):
        colour = (LINE, DOTS, (70, 140, 60), (140, 60, 140))[k % 4]
        path = np.array([place(x, y, last, low, high) for x, y in points if np.isfinite(y)], np.int32).reshape(-1, 1, 2)
        cv2.polylines(canvas, [path], False, colour, 2, cv2.LINE_AA)
        if points:
            cv2.circle(canvas, path[-1, 0].tolist(), 3, colour, -1, cv2.LINE_AA)
            text = f"{name} {points[-1][1]:.3g}"
            cv2.putText(canvas, text, (WIDE - 230, 20 + 16 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
    return canvas


def place(x: float, y: float, last: float, low: float, high: float) -> tuple[int, int]:
    """Pixel of a value."""
    across = EDGE + x / last * (WIDE - 1.5 * EDGE)
    down = HIGH - EDGE / 2 - (y - low) / (high - low) * (HIGH - 1.6 * EDGE)
    return round(across), round(down)


def label(canvas: NDArray[Any], text: str, at: tuple[int, int]) -> None:
    """Small ink."""
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
