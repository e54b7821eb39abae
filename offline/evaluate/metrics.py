"""What the paper's tables count: angles between normals (table 1), likeness of pictures (table 2)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
LIMITS = (5, 15, 25, 30)  # degrees


def angles_between(a: NDArray[Any], b: NDArray[Any]) -> F64:
    """(...) degrees between vectors (..., 3) of any length."""
    cross = np.linalg.norm(np.cross(a, b), axis=-1)  # atan2 keeps small angles that arccos would lose
    return np.asarray(np.degrees(np.arctan2(cross, (np.asarray(a, np.float64) * b).sum(-1))))


def angle_table(errors: F64) -> dict[str, float]:
    """Share of errors (n,) under 5, 15, 25 and 30 degrees (per cent), mean and median (degrees)."""
    row = {f"<{limit}": float(100 * (errors < limit).mean()) for limit in LIMITS}
    return row | {"mean": float(errors.mean()), "median": float(np.median(errors))}


def rmse(a: NDArray[Any], b: NDArray[Any], mask: Mask) -> float:
    """Root mean square difference of pictures (H, W) or (H, W, 3), 0..1, inside `mask` (H, W)."""
    return float(np.sqrt(((np.asarray(a, np.float64) - b)[mask] ** 2).mean()))


def psnr(a: NDArray[Any], b: NDArray[Any], mask: Mask) -> float:
    """dB of pictures with values 0..1, inside `mask`; at most 100."""
    return float(-20 * np.log10(max(rmse(a, b, mask), 1e-5)))


def ssim(a: NDArray[Any], b: NDArray[Any], mask: Mask) -> float:
    """Mean structural similarity (Wang 2004; Gaussian window of sigma 1.5, values 0..1) of grey pictures (H, W) over
    the pixels of `mask`."""

    def blur(x: F64) -> F64:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), 1.5))

    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mx, my = blur(x), blur(y)
    vx, vy, xy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * mx * my + c1) * (2 * xy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(similar[mask].mean())


def best_gain(a: NDArray[Any], b: NDArray[Any], mask: Mask) -> float:
    """The factor by which `a` comes nearest to `b` inside `mask` (least squares); 1 for a black picture."""
    x, y = np.asarray(a, np.float64)[mask], np.asarray(b, np.float64)[mask]
    power = float((x * x).sum())
    return float((x * y).sum() / power) if power > 1e-12 else 1.0


def likeness(a: NDArray[Any], b: NDArray[Any], mask: Mask) -> dict[str, float]:
    """SSIM, PSNR (dB) and RMSE of grey pictures (H, W), 0..1, `a` after its one best gain and clipping."""
    brought = np.clip(np.asarray(a, np.float64) * best_gain(a, b, mask), 0, 1)
    return {"ssim": ssim(brought, b, mask), "psnr": psnr(brought, b, mask), "rmse": rmse(brought, b, mask)}


def mean_row(rows: list[dict[str, float]]) -> dict[str, float]:
    """Column means; columns that a row lacks, or nan, do not count; a column without any value is nan."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out: dict[str, float] = {}
    for name in names:
        values = [row[name] for row in rows if name in row and not np.isnan(row[name])]
        out[name] = float(np.mean(values)) if values else float("nan")
    return out


def text_table(rows: dict[str, dict[str, float]], columns: dict[str, str]) -> str:
    """Rows by name; `columns`: key -> format such as '6.1f'. A missing value is a dash."""
    width = max(map(len, rows)) if rows else 4
    cells = {key: max(len(key), int(form.split(".")[0])) for key, form in columns.items()}
    lines = [" " * width + "".join(f"  {key:>{cells[key]}}" for key in columns)]
    for name, row in rows.items():
        shown = (format(row[k], f) if k in row and not np.isnan(row[k]) else "-" for k, f in columns.items())
        lines.append(
            f"{name:<{width}}" + "".join(f"  {text:>{n}}" for text, n in zip(shown, cells.values(), strict=True))
        )
    return "\n".join(lines)
