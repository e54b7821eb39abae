"""Offline: what is done with a whole clip before it plays. Live video has no future to look into.

What a driver saw is seen more exactly (`drivers.clip`), and the retargeter chooses its neutral from all of it. Where a
clip drives a portrait that is one of its own frames (somebody's film, to be lit or turned), there is a truth: the film.
The avatar then plays it once to itself, and where a detector sees its face elsewhere than in the film, it goes a part
of the way there. Its landmarks lie where the film's skin is, but eyes judge by more: edges, shades, what teeth show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from narrate_stream.anchor import Anchor, filmed
from narrate_stream.drivers.clip import aligned, looked_at, relifted, runs, sharpened, steadied
from narrate_stream.drivers.looks import SeveralLooks
from narrate_stream.ops.canonical import canonical
from narrate_stream.renderer import Framing
from narrate_stream.retarget import Retargeter
from narrate_stream.types import Frame, Image, Motion

F64 = NDArray[np.float64]
Seen = list[F64 | None]
REACH = 2.2  # cm, standard deviation: over this much of the face an error is one error; less would bend features
LASTS = 2.0  # frames, standard deviation: the same in time
WAY = 0.6  # of an error that is taken back; the rest would leave the film's own skin for what a detector makes of it


def rehearsed(
    retarget: Retargeter,
    framing: Framing,
    show: Callable[[Motion], Image],
    frames: Iterable[Frame],
    motions: Sequence[Motion | None],
    fps: float,
) -> list[Motion | None]:
    """The motions of a clip (at least one face) as they are to be played; `retarget` knows its neutral from now on.

    show: the avatar's picture of a moment, in the portrait's own light; frames: gone through up to three times.
    Relative motion is only steadied: laid on skin, its turns agree less with another detector's.
    """
    calm, anchor = retarget.calmest([m for m in motions if m is not None]), retarget.anchor
    if anchor is None or not filmed(calm):
        steady = steadied(motions, calm) if filmed(calm) else list(motions)
        retarget.rehearse(steady, fps)
        return steady
    exact = aligned(frames, motions, calm)
    seen = looked_at(frames, exact)
    sharp = sharpened(motions, calm, exact, seen)
    retarget.rehearse(sharp, fps)
    if not anchor.is_portrait(calm):
        return sharp
    found = [None if at is skin else at for at, skin in zip(seen, exact, strict=True)]  # by looks, not laid on skin
    return to_the_eye(partial(places, anchor, framing, show), sharp, calm, found)


def to_the_eye(
    places: Callable[[SeveralLooks, Motion], F64 | None], motions: Sequence[Motion | None], calm: Motion, seen: Seen
) -> list[Motion | None]:
    """Motions that let the avatar look more like the film, in which several looks have `seen` the face; places: where
    they see the avatar's, pixels of the film. Where they do not find both, nothing is known to be wrong."""
    out, looks = list(motions), SeveralLooks()
    try:
        for first, last in runs(motions, calm):
            own = [m for m in motions[first:last] if m is not None]
            pairs = [(places(looks, m), at) for m, at in zip(own, seen[first:last], strict=True)]
            away = np.array([np.zeros((478, 2)) if a is None or b is None else a - b for a, b in pairs])
            back = WAY * gaussian_filter1d(spread() @ away, LASTS, axis=0, mode="nearest")
            out[first:last] = [relifted(m, m.pixels - by, calm) for m, by in zip(own, back, strict=True)]
    finally:
        looks.close()
    return out


def places(
    anchor: Anchor, framing: Framing, show: Callable[[Motion], Image], looks: SeveralLooks, motion: Motion
) -> F64 | None:
    """(478, 2) where several looks see the avatar's landmarks in its picture of `motion`, pixels of the driving frame;
    None if they find no face."""
    shift = np.array([framing.dx, framing.dy])
    found = looks.around(show(motion), anchor.pixels(motion) * framing.scale + shift)
    return None if found is None else anchor.in_frame((found[:, :2] - shift) / framing.scale, motion)


@lru_cache(maxsize=1)
def spread() -> F64:
    """(478, 478) the mean of each landmark's surroundings in the canonical face."""
    face = canonical().landmarks
    near = np.exp(-((face[:, None] - face) ** 2).sum(-1) / (2 * REACH**2))
    return np.asarray(near / near.sum(1, keepdims=True))
