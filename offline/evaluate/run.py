"""`narrate eval normals` and `relight`: the paper's tables 1 and 2 over the subjects of a data folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError, PortraitError
from offline.evaluate.metrics import angle_table, angles_between, likeness, mean_row
from offline.evaluate.predict import LIGHT_ONLY, NORMALS_ONLY, Prediction, Relit, available, predict
from offline.evaluate.samples import Sample, reduced

F64 = NDArray[np.float64]
Predict = Callable[[Sample, str], Prediction]
Row = dict[str, float]
log = logging.getLogger(__name__)
NORMAL_FORMATS = {"<5": "5.1f", "<15": "5.1f", "<25": "5.1f", "<30": "5.1f", "mean": "5.1f", "median": "6.1f"}
RELIGHT_FORMATS = {"ssim": "5.3f", "psnr": "5.2f", "rmse": "6.4f"}


@dataclass
class Table:
    """rows: {variant: means over subjects}; subjects: {variant: {subject: its row}}; failed: {subject: why}. A subject
    that could not be built is in no row, so that all rows are of the same subjects."""

    rows: dict[str, Row] = field(default_factory=dict)
    subjects: dict[str, dict[str, Row]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def normals_table(samples: Iterable[Sample], *, predictor: Predict = predict) -> Iterator[Table]:
    """Table 1: angular error on believed skin; yields the table so far after every subject. Raises NarrateError when
    no subject could be measured."""

    variants = [v for v in available() if v not in LIGHT_ONLY]

    def rows(sample: Sample) -> dict[str, Row]:
        return {v: normal_errors(sample, predictor(sample, v).normal) for v in variants}

    return measured(samples, rows)


def relight_table(samples: Iterable[Sample], *, predictor: Predict = predict) -> Iterator[Table]:
    """Table 2: pictures in other lights after one gain each; yields the table so far after every subject. Raises
    NarrateError when no subject could be measured."""

    variants = [v for v in available() if v not in NORMALS_ONLY]

    def rows(sample: Sample) -> dict[str, Row]:
        unchanged = [likeness(sample.photograph, t.real, sample.face) for t in sample.targets]
        return {"input unchanged": mean_row(unchanged)} | {v: relit_row(sample, predictor(sample, v)) for v in variants}

    return measured(samples, rows)


def measured(samples: Iterable[Sample], rows_of: Callable[[Sample], dict[str, Row]]) -> Iterator[Table]:
    """Adds subject after subject. A portrait that the build refuses is noted; any other failure is not hidden."""
    table = Table()
    for sample in samples:
        try:
            rows = rows_of(sample)
        except PortraitError as error:
            table.failed[sample.name] = str(error)
            log.warning("%s is left out: %s", sample.name, error)
            continue
        for variant, row in rows.items():
            table.subjects.setdefault(variant, {})[sample.name] = row
            table.rows[variant] = mean_row(list(table.subjects[variant].values()))
        yield table
    if not table.rows:
        reasons = "; ".join(table.failed.values())
        raise NarrateError(f"no subject could be measured{': ' + reasons if reasons else ''}")


def normal_errors(sample: Sample, normal: F64) -> Row:
    """Angles at the data's own size; the predicted normals are averaged down to it."""
    if not sample.mask.any():
        raise NarrateError(f"{sample.name}: no pixel of skin with a true normal")
    small = reduced(normal, sample.mask.shape)
    return angle_table(angles_between(small[sample.mask], sample.normal[sample.mask]))


def relit_row(sample: Sample, prediction: Prediction) -> Row:
    """Means over the sample's target lights."""
    if prediction.model is None:
        raise NarrateError(f"{sample.name}: this variant has normals only and cannot be relit")
    relit = Relit(prediction.model)
    rows = []
    for target in sample.targets:
        grey = relit(target.lighting).astype(np.float64).mean(-1) / 255
        rows.append(likeness(reduced(grey, sample.face.shape), target.real, sample.face))
    return mean_row(rows)
