"""A clip seen as a whole: the second pass over what a driver saw, frame by frame, in a recorded clip.

Landmarks are laid on the skin of one calm frame (`drivers.alignment`), whose errors do not drift, and joined without
lag with what several looks saw, whose errors do not flicker. Live video has neither the time for the first nor the
future for the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from narrate_stream.drivers.alignment import Aligner, with_own_eyes
from narrate_stream.drivers.looks import SeveralLooks
from narrate_stream.drivers.mesh import FOCAL_FACTOR
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lift import lifted, solved_pose
from narrate_stream.types import Frame, Motion

F64 = NDArray[np.float64]
WORKERS = 2
AT_ONCE = 16  # frames in memory
CALMEST = 20  # percent of a clip's moments: what flickers no more than in these is noise
MOMENT = 2.0  # frames, standard deviation of what counts as one moment
SLOW = 0.8  # frames, standard deviation: what changes more slowly is taken from pictures laid on one another


def sharpened(
    motions: Sequence[Motion | None], calm: Motion, exact: Sequence[F64 | None], seen: Sequence[F64 | None]
) -> list[Motion | None]:
    """What the driver saw, more exactly: as its landmarks lie on the skin of the calm moment (`aligned`), and lids and
    irises as several looks have `seen` them (`looked_at`), which see lids close that one leaves half open. Frames of
    another size or person keep theirs."""
    marks = list(exact)
    for first, last in runs(motions, calm):
        agreed, on_skin = np.array(seen[first:last]), np.array(exact[first:last])
        steady = joined(agreed, on_skin)
        marks[first:last] = calmed(np.array([with_own_eyes(*pair) for pair in zip(agreed, steady, strict=True)]))
    return [m if at is None or m is None else relifted(m, at, calm) for m, at in zip(motions, marks, strict=True)]


def steadied(motions: Sequence[Motion | None], calm: Motion) -> list[Motion | None]:
    """What a patient driver saw, without what is noise in it. Motions of another size or person stay as they are."""
    out = list(motions)
    for first, last in runs(motions, calm):
        marks = calmed(np.array([m.pixels for m in motions[first:last] if m], np.float64))
        out[first:last] = [relifted(m, at, calm) for m, at in zip(motions[first:last], marks, strict=True) if m]
    return out


def looked_at(frames: Iterable[Frame], marks: Sequence[F64 | None]) -> list[F64 | None]:
    """(478, 2) landmarks of each frame that several looks agree on, near its `marks`; these where none finds them."""
    looks = SeveralLooks()
    try:
        found = [None if at is None else looks.around(f.image, at) for f, at in zip(frames, marks, strict=True)]
    finally:
        looks.close()
    return [at if seen is None else seen[:, :2] for seen, at in zip(found, marks, strict=True)]


def aligned(frames: Iterable[Frame], motions: Sequence[Motion | None], calm: Motion) -> list[F64 | None]:
    """(478, 2) landmarks of each frame on the skin of the calm one: its own, moved by what all frames say it errs."""
    number = next(k for k, m in enumerate(motions) if m is calm)
    aligner = Aligner(next(islice(frames, number, None)).image, calm.pixels.astype(np.float64))

    def look(pair: tuple[Frame, Motion | None]) -> F64 | None:
        frame, motion = pair
        return aligner(frame.image, motion.pixels.astype(np.float64)) if motion and alike(motion, calm) else None

    out: list[F64 | None] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        pairs = zip(frames, motions, strict=True)
        while block := list(islice(pairs, AT_ONCE)):
            out += pool.map(look, block)
    return centred(out, motions)


def centred(marks: list[F64 | None], motions: Sequence[Motion | None]) -> list[F64 | None]:
    """Landmarks that share the calm frame's error, moved by their mean distance from the detected ones, as it is in the
    face: that error is then no larger than the mean of all frames'."""
    pairs = [(at, m.pixels.astype(np.float64)) for at, m in zip(marks, motions, strict=True) if at is not None and m]
    turns = [eye_line(at) for at, _ in pairs]
    error = np.mean([(seen - at) @ np.linalg.inv(turn) for (at, seen), turn in zip(pairs, turns, strict=True)], axis=0)
    return [None if at is None else at + error @ eye_line(at) for at in marks]


def eye_line(marks: F64) -> F64:
    """(2, 2) rows: from outer eye corner to outer eye corner, and as far across."""
    x, y = marks[263] - marks[33]
    return np.array([[x, y], [-y, x]])


def alike(motion: Motion, calm: Motion) -> bool:
    """Whether two moments show the same person in pictures of the same size."""
    return motion.size == calm.size and motion.person == calm.person


def runs(motions: Sequence[Motion | None], calm: Motion) -> Iterator[tuple[int, int]]:
    """First and last + 1 of each stretch of frames that show the person of the calm one."""
    first: int | None = None
    for k, motion in enumerate([*motions, None]):
        seen = motion is not None and alike(motion, calm)
        if seen and first is None:
            first = k
        elif not seen and first is not None:
            yield first, k
            first = None


def joined(seen: F64, exact: F64) -> F64:
    """(N, 478, 2) landmarks that lie as `exact` in the long run and move from moment to moment as they were `seen`:
    several looks err slowly, laying pictures on one another errs anew in every frame."""
    return np.asarray(seen + gaussian_filter1d(exact - seen, SLOW, axis=0, mode="nearest"))


def calmed(marks: F64) -> F64:
    """(N, 478, 2) without the noise of the detector: a landmark comes the nearer to the mean of the moments before and
    after, the more of its flicker is no larger than in the calmest moments of the clip. No lag, and a fast movement
    stays whole."""
    if len(marks) < 3:
        return marks
    between = (marks[:-2] + marks[2:]) / 2 - marks[1:-1]
    flicker = gaussian_filter1d((between**2).sum(-1), MOMENT, axis=0, mode="nearest")
    noise = np.minimum(1, np.percentile(flicker, CALMEST, axis=0) / np.maximum(flicker, 1e-9))
    out = marks.copy()
    out[1:-1] += 2 / 3 * noise[..., None] * between  # 2/3: the mean of all three, the best where all is noise
    return out


def relifted(motion: Motion, marks: F64, calm: Motion) -> Motion:
    """The same moment with its landmarks at `marks` (478, 2), as deep as the calm face lies there; no filter has to
    guess any more what is noise."""
    w, h = motion.size
    camera = Camera(FOCAL_FACTOR * max(w, h), (w - 1) / 2, (h - 1) / 2)
    shape = calm.landmarks.astype(np.float64)
    start = motion.rotation.astype(np.float64), motion.translation.astype(np.float64)
    rotation, translation = pose = solved_pose(shape, marks, camera, start)
    face = lifted(shape, marks, camera, pose)
    return replace(
        motion,
        rotation=rotation.astype(np.float32),
        translation=translation.astype(np.float32),
        landmarks=face.astype(np.float32),
        pixels=marks.astype(np.float32),
        measured=False,
    )
