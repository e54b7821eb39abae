"""Lips: they rise and part as far as the portrait's face has room for, meet when the driver's meet, and never cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.limits import softly

F64 = NDArray[np.float64]
UPPER_LIP, LOWER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324)
MOUTH = tuple(sorted({
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 78, 308, *UPPER_LIP,
    *LOWER_LIP, 76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 307, 320, 404, 315, 16, 85, 180, 90, 77, 62, 183,
    42, 41, 38, 12, 268, 271, 272, 407, 292, 325, 319, 403, 316, 15, 86, 179, 89, 96,
}))  # fmt: skip
CORNERS = (61, 291, 76, 306, 62, 292, 78, 308)
UPPER_MOUTH = (
    *UPPER_LIP, 185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408, 183, 42, 41, 38, 12,
    268, 271, 272, 407, *CORNERS,
)  # fmt: skip
MOUTH_INDEX, UPPER_LIP_INDEX, LOWER_LIP_INDEX = np.array(MOUTH), np.array(UPPER_LIP), np.array(LOWER_LIP)
LIP_RISE, LEAST_RISE = 1.1, 0.25  # cm the upper lip may rise from shut lips, approached softly; what is always left
OPENING = 0.58  # of the way from nose to chin: how far lips part in relative motion, approached softly;
LEAST = 0.1  # what is left of it to lips that are parted already
OVERLAP = 0.04  # cm by which shut lips overlap
MET, PARTED = 0.015, 0.14  # openings over the mouth's width: of a driver whose lips meet, and of one who speaks
SLIT, NEARLY_MET = 0.03, 0.08  # the same: what a detector sees between lips that are shut; where it errs
DRAWN = 0.25  # of the mouth's width: the most by which lips that are parted in the portrait are drawn together
UPPER_SHARE = 0.35  # of that the upper lip's
STIR = 0.12  # of the mouth's width: what a speaking mouth opens and closes within a moment
PLAIN, SMILE, PUCKER = 0.53, 0.36, 0.24  # eye distances: how wide mouths are, and can get in addition, or can lose
DROPPED = 0.7  # of the mouth's width: how far a jaw that is dropped opens it
GIVES_WAY = 0.7  # how much of the portrait's smile is lost to such a jaw, and to a mouth that is pursed
SHARPLY = 4  # power of the mean of two openings of which the larger counts
NARROWEST = 0.62  # of the portrait's mouth, approached softly: narrower, the skin of a smile would lie in folds
STRETCH = 0.75, 1.5  # how much of a driver's opening there is in narrower and in wider mouths
TYPICAL = 0.7  # of the way from a calm driver's mouth to most people's: where it rests
FLATTEST = -0.05  # 1 / cm: curvature of the teeth's arch
AROUND = 0.12  # eye distances from the lips that the face goes along when they are moved
MOMENT, RELEASE = 0.6, 2.0  # seconds: of that moment; until a mouth that stopped speaking is the portrait's own again
EASE = 0.25  # seconds, standard deviation: how softly it goes and comes where that is known beforehand


def mouth_opening(face: NDArray[np.floating[Any]]) -> float:
    """Inner lips apart over the mouth's width, of a face (468+, 3) in head space."""
    apart = np.linalg.norm(face[[81, 13, 311]] - face[[178, 14, 402]], axis=-1).mean()
    return float(apart / max(float(np.linalg.norm(face[78] - face[308])), 1e-6))


def mouth_width(face: NDArray[np.floating[Any]]) -> float:
    """Corner to corner over the distance of the eyes' outer corners."""
    return float(np.linalg.norm(face[61] - face[291]) / max(float(np.linalg.norm(face[33] - face[263])), 1e-6))


def gaps(face: NDArray[np.floating[Any]]) -> F64:
    """(9,) cm that the inner lips are apart, from corner to corner."""
    return np.asarray(face[UPPER_LIP_INDEX, 1] - face[LOWER_LIP_INDEX, 1], np.float64)


def met_fully(aspect: F64) -> F64:
    """Gaps over the mouth's width, with what a detector still sees between shut lips, pursed ones above all, taken for
    none."""
    near = np.clip((NEARLY_MET - aspect) / (NEARLY_MET - SLIT), 0, 1)
    return np.asarray(np.where(aspect < SLIT, 0, aspect - SLIT * near * near), np.float64)


def with_lips(face: NDArray[np.floating[Any]]) -> F64:
    """(468,) 0..1 how far places of a face go along when its lips are moved sideways or up: none from the nose on."""
    lips = face[MOUTH_INDEX]
    eyes = float(np.linalg.norm(face[33] - face[263]))
    away = np.linalg.norm(face[:468, None, :2] - lips[None, :, :2], axis=-1).min(1) / (AROUND * eyes)
    below = np.clip((face[2, 1] - face[:468, 1]) / max(float(face[2, 1] - face[0, 1]), 1e-6), 0, 1)
    return np.asarray(np.exp(-away * away) * below, np.float64)


def stretched(face: NDArray[np.floating[Any]], share: float, along: F64) -> F64:
    """(468,) cm sideways by which the mouth gets `share` as wide."""
    middle = (face[61, 0] + face[291, 0]) / 2
    return np.asarray((share - 1) * (face[:468, 0] - middle) * along, np.float64)


def arch_of(face: NDArray[np.floating[Any]]) -> float:
    """1 / cm: the lips lie so much nearer per square of the way from the middle; what they lie on is always round."""
    lips = face[[78, *UPPER_LIP, 308]]
    return min(float(np.polyfit(lips[:, 0], lips[:, 2], 2)[0]), FLATTEST)


def relaxed(face: NDArray[np.floating[Any]]) -> F64:
    """(478, 3) a driver's calmest face with the mouth as it most probably rests: shut, and nearly as wide and as far
    below the nose as most people's. Of one who speaks or smiles through a whole clip no moment shows it."""
    out, usual = face.astype(np.float64), canonical().landmarks
    size = float(np.linalg.norm(face[33] - face[263]) / np.linalg.norm(usual[33] - usual[263]))
    along, apart = with_lips(out), np.maximum(gaps(out), 0)
    width = 1 + TYPICAL * (mouth_width(usual) / mouth_width(out) - 1)
    seam, usually = (float(f[2, 1] - (f[13, 1] + f[14, 1]) / 2) for f in (out, usual))
    down = TYPICAL * (size * usually - seam)
    out[:468, 0] += stretched(out, width, along)
    out[:468, 1] += Closing(out)(apart) - down * along
    return out


def composed(own: float, driver: float, dropped: float) -> tuple[float, float]:
    """What is left of the portrait's own width of the mouth, -1 pursed .. 1 smiling, and it and the driver's as one.

    What is contrary gives way to the driver, and what goes down with the jaw (dropped, 0..1) if his smile does; what is
    alike adds up to no more than a face can do."""
    alike = float(np.clip(driver / own, 0, 1)) if own else 0.0
    contrary = min(abs(driver), 1.0) if own * driver < 0 else 0.0
    left = own * (1 - GIVES_WAY * max(contrary, dropped * (1 - alike)))
    return left, left + driver * (max(1 - abs(left), 0.0) if left * driver > 0 else 1.0)


def speech(openings: F64, fps: float) -> F64:
    """(N,) 0..1 how far each frame of a clip belongs to speech: mouths that open and close near it, by their openings
    (N,), nan where there is none. It begins before the first sound and outlasts the last, and pauses belong to it."""
    seen = np.flatnonzero(~np.isnan(openings))
    if len(seen) == 0:
        return np.zeros(len(openings))
    known = np.interp(np.arange(len(openings)), seen, openings[seen])
    moment, pause, ease = (max(round(s * fps), 1) for s in (MOMENT, RELEASE / 2, EASE))
    stir = maximum_filter1d(known, 2 * moment + 1) - minimum_filter1d(known, 2 * moment + 1)
    talk = minimum_filter1d(maximum_filter1d(np.clip(stir / STIR, 0, 1) ** 2, 2 * pause + 1), pause + 1)
    return np.asarray(gaussian_filter1d(talk, ease, mode="nearest"), np.float64)


class Closing:
    """How the lips and jaw of one face (468+, 3) come together."""

    def __init__(self, face: NDArray[np.floating[Any]]) -> None:
        self._upper = np.array(UPPER_MOUTH)
        self._lower = np.setdiff1d(MOUTH_INDEX, self._upper)
        x = face[:468, 0].astype(np.float64)
        self._order = np.argsort(x[LOWER_LIP_INDEX])
        self._x, self._at = x, x[LOWER_LIP_INDEX][self._order]
        nose, lip, chin, rim = (float(face[k, 1]) for k in (2, 14, 152, 17))
        y = face[:468, 1]
        self._jaw = np.clip((nose - y) / (nose - lip), 0, 1) * np.clip(0.55 + 0.45 * (y - chin) / (rim - chin), 0, 1)
        self._jaw[self._upper] = 0  # the chin goes along half the way

    def __call__(self, apart: F64) -> F64:
        """(468,) cm upward by which lips that are `apart` (9,) cm meet: upper lip and what is above it go down, lower
        lip and jaw go up. Less than nothing parts them, by the jaw alone."""
        there = np.interp(self._x, self._at, apart[self._order], left=0.0, right=0.0)
        there[UPPER_LIP_INDEX] = there[LOWER_LIP_INDEX] = apart
        upper = np.where(there > 0, UPPER_SHARE, 0.0)
        most = float(apart[np.argmax(np.abs(apart))])
        out = (1 - UPPER_SHARE * (most > 0)) * self._jaw * most
        out[self._lower] = ((1 - upper) * there)[self._lower]
        out[self._upper] = -(upper * there)[self._upper]
        return np.asarray(out, np.float64)


class Lips:
    """Sets the lips of one portrait. relative: the portrait's own mouth and the driver's add up; it opens no wider than
    there is room, and while the driver speaks it closes when his does, though the portrait's lips may be parted at
    rest. At rest they are the portrait's own."""

    def __init__(self, model: HybridModel, *, relative: bool) -> None:
        self.own, self.relative = model.neutral.astype(np.float64), relative
        own = self.own
        self._upper = np.array(UPPER_MOUTH)
        # a lip that is already up in a smile has little way left; higher, there would be more gum than anyone has
        bared = float(np.linalg.norm(own[13] - own[14])) if relative else 0.0
        self._rise = max(LIP_RISE - bared, LEAST_RISE)
        nose, lip = own[2, 1], own[14, 1]
        self._with_jaw = np.clip((nose - own[:468, 1]) / (nose - lip), 0, 1)
        self._with_jaw[self._upper] = 0
        self._closing, self._along = Closing(own), with_lips(own)
        width = float(np.linalg.norm(own[78] - own[308]))
        self._gaps = np.clip(gaps(own), 0, DRAWN * width)
        self._arch = arch_of(own)
        seam = own[13, 1] - UPPER_SHARE * (own[13, 1] - own[14, 1])  # where the lips meet
        self._raised = max(float((own[61, 1] + own[291, 1]) / 2 - seam), 0.0)  # cm: corners of a smile
        self._usual: float | None = None  # opening of the driver's mouth, of late
        self._speaks = 0.0
        self._rehearsed: list[NDArray[np.floating[Any]]] = []  # kept: their ids are theirs only as long as they are
        self._talk: dict[int, float] = {}

    def rehearse(self, faces: Sequence[NDArray[np.floating[Any]] | None], fps: float) -> None:
        """Offline: when the driver speaks is known from the whole clip, (478, 3) or nothing in each frame. What is
        called with these very faces is as open as the driver's mouth while he speaks, and around."""
        self._rehearsed = [face for face in faces if face is not None]
        openings = np.array([np.nan if face is None else mouth_opening(face) for face in faces])
        talk = speech(openings, fps)
        self._talk = {id(face): float(t) for face, t in zip(faces, talk, strict=True) if face is not None}

    def __call__(
        self, offsets: F64, face: NDArray[np.floating[Any]], base: NDArray[np.floating[Any]], seconds: float
    ) -> F64:
        """(468, 3) cm of the portrait, changed in place; face: the driver's, (478, 3) in head space, `seconds` after
        the last, and base the one at rest."""
        rise = offsets[self._upper, 1]
        offsets[self._upper, 1] = np.where(rise > 0, softly(rise, self._rise), rise)
        if self.relative:
            lost, width = self._composed(face, base)
            apart = (1 - lost) * (1 - self._drawn_together(face, seconds))
            offsets += self._widened(offsets, width, lost)
            offsets[:, 1] += self._met(offsets, face, base, 1 - apart)
            offsets = self._opening_limited(offsets)
        return self._apart(offsets)

    def _drawn_together(self, face: NDArray[np.floating[Any]], seconds: float) -> float:
        """0..1 how far speech draws the portrait's lips together."""
        opening = mouth_opening(face)
        self._usual = opening if self._usual is None else self._usual
        self._usual += (opening - self._usual) * (1 - float(np.exp(-seconds / MOMENT)))
        stir = min(abs(opening - self._usual) / STIR, 1.0)
        self._speaks = max(stir * stir, self._speaks * float(np.exp(-seconds / RELEASE)))
        parted = float(np.clip((opening - MET) / (PARTED - MET), 0, 1))
        return self._talk.get(id(face), self._speaks * (1 - parted) ** 2)

    def _composed(self, face: NDArray[np.floating[Any]], base: NDArray[np.floating[Any]]) -> tuple[float, float]:
        """How much of the portrait's smile gives way, 0..1, and how wide the mouth gets, eye distances."""
        own, moved = (
            x / (SMILE if x > 0 else PUCKER)
            for x in (mouth_width(self.own) - PLAIN, mouth_width(face) - mouth_width(base))
        )
        dropped = float(np.clip((mouth_opening(face) - mouth_opening(base)) / DROPPED, 0, 1))
        left, share = composed(own, moved, dropped)
        return 1 - left / own if own > 0 else 0.0, PLAIN + share * (SMILE if share > 0 else PUCKER)

    def _widened(self, offsets: F64, width: float, lost: float) -> F64:
        """(468, 3) cm that make the mouth so wide, eye distances. It slides along the arch of the teeth, which would
        come out through a cheek else; and as much of a smile as is `lost` comes down at its corners."""
        now, own = self.own[:468] + offsets, mouth_width(self.own)
        width = own + max(float(softly(width - own, (1 - NARROWEST) * own)), width - own)
        aside = stretched(now, width / mouth_width(now), self._along)
        x = now[:, 0] - (now[61, 0] + now[291, 0]) / 2
        down = lost * self._raised * np.minimum(np.abs(x / x[291]), 1) * self._along
        return np.column_stack([aside, -down, self._arch * aside * (2 * x + aside)])

    def _met(self, offsets: F64, face: NDArray[np.floating[Any]], base: NDArray[np.floating[Any]], met: float) -> F64:
        """(468,) cm upward that leave the lips as far apart as the driver's, in the mouth's own proportions, or as they
        are in the portrait, whichever is more, once they are drawn together as far as `met`, 0..1. Lips so drawn open
        by the jaw."""
        now, own, drawn = self.own[:468] + offsets, gaps(self.own), met * self._gaps
        widths = [max(float(np.linalg.norm(f[78] - f[308])), 1e-6) for f in (now, face)]
        scale = float(np.clip(widths[0] / widths[1], *STRETCH))
        opened = met_fully((gaps(face) - (1 - met) * gaps(base)) / widths[1]) * widths[1]
        left, driver = np.maximum(own - drawn, 0), scale * opened
        more = (left**SHARPLY + driver**SHARPLY) ** (1 / SHARPLY) - left
        return self._closing(drawn) + self._closing(gaps(now) - own - more)

    def _opening_limited(self, offsets: F64) -> F64:
        """A mouth that opens as far as the portrait's face has room for: beyond, jaw and chin go down less."""
        own = self.own
        room = float(own[2, 1] - own[152, 1])
        rest = float(own[13, 1] - own[14, 1])
        down, up = -float(offsets[14, 1]), float(offsets[13, 1])
        if down <= 0:
            return offsets
        allowed = float(softly(down + up, max(OPENING * room - rest, LEAST * room))) - up
        offsets[:, 1] *= 1 - (1 - np.clip(allowed / down, 0, 1)) * self._with_jaw
        return offsets

    def _apart(self, offsets: F64) -> F64:
        """Inner lips never pass each other: they meet in the middle, overlapping a hair so that no slit shows."""
        own, u, low = self.own, UPPER_LIP_INDEX, LOWER_LIP_INDEX
        gap = (own[u, 1] + offsets[u, 1]) - (own[low, 1] + offsets[low, 1])
        wanted = np.where(gap < 2 * OVERLAP, np.maximum(gap, -OVERLAP) - np.clip(OVERLAP - 0.5 * gap, 0, OVERLAP), gap)
        cross = gap - np.maximum(wanted, -OVERLAP)
        offsets[u, 1] -= 0.5 * cross
        offsets[low, 1] += 0.5 * cross
        return offsets
