"""What `narrate eval views` shows: means over the sitters, and a line of pictures per sitter and angle."""

from __future__ import annotations

import cv2
import numpy as np

from narrate_stream.types import Image
from offline.evaluate.metrics import mean_row

Rows = dict[str, dict[str, list[dict[str, float]]]]  # {turner: {angle: a row per sitter}}


def means(rows: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """{turner: {angle: mean over sitters, ..., "mean": over all}}."""
    return {
        name: {angle: mean_row(many) for angle, many in by.items()}
        | {"mean": mean_row([row for many in by.values() for row in many])}
        for name, by in rows.items()
    }


def angle_name(yaw: float, pitch: float) -> str:
    """'yaw +20' or 'pitch -15'."""
    return f"pitch {pitch:+g}" if pitch else f"yaw {yaw:+g}"


def sheet_line(name: str, photograph: Image, views: dict[str, Image], truth: Image, angle: str) -> Image:
    """Photograph, views and truth side by side, and the first product view's difference from the truth."""
    tiles = [titled(photograph, name)]
    tiles += [titled(image, f"{turner}, {angle}") for turner, image in views.items() if turner != "input unchanged"]
    tiles.append(titled(truth, "truth"))
    own = next((views[n] for n in ("networks", "weight-free") if n in views), next(iter(views.values())))
    apart = np.abs(own.astype(np.int16) - truth) * 3
    tiles.append(titled(np.clip(apart, 0, 255).astype(np.uint8), "difference x 3"))
    return np.concatenate(tiles, 1)


def titled(image: Image, text: str) -> Image:
    """A copy with a caption."""
    out = image.copy()
    cv2.putText(out, text, (7, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(out, text, (7, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 160), 1, cv2.LINE_AA)
    return out
