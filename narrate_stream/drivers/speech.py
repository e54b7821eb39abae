"""Demo motion: a person who speaks, nods, blinks and looks about, made of seeded chance and no recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

F64 = NDArray[np.float64]
Shape = dict[str, float]
NECK = np.array([0.0, 9.0, 3.0])  # cm from the joint the head nods about to the head's origin
VOWELS: tuple[Shape, ...] = (
    {"jawOpen": 0.50, "mouthLowerDown": 0.20, "mouthUpperUp": 0.12},  # ah
    {"jawOpen": 0.32, "mouthStretch": 0.22, "mouthLowerDown": 0.25, "mouthSmile": 0.10},  # eh
    {"jawOpen": 0.16, "mouthStretch": 0.35, "mouthSmile": 0.22, "mouthLowerDown": 0.20},  # ee
    {"jawOpen": 0.36, "mouthFunnel": 0.45, "mouthPucker": 0.10},  # oh
    {"jawOpen": 0.14, "mouthPucker": 0.55, "mouthFunnel": 0.18},  # oo
    {"jawOpen": 0.26, "mouthLowerDown": 0.12, "mouthUpperUp": 0.08},  # uh
)
CONSONANTS: tuple[Shape, ...] = (
    {"jawOpen": 0.03, "mouthPress": 0.55, "mouthRollLower": 0.20, "mouthRollUpper": 0.12},  # m b p
    {"jawOpen": 0.09, "mouthRollLower": 0.45, "mouthUpperUp": 0.18},  # f v
    {"jawOpen": 0.12, "mouthLowerDown": 0.15},  # t d n l
    {"jawOpen": 0.10, "mouthStretch": 0.12, "mouthFunnel": 0.12},  # s sh
    {"jawOpen": 0.18},  # k g
)
PAIRED = ("mouthLowerDown", "mouthUpperUp", "mouthStretch", "mouthSmile", "mouthPress")


class Take:
    """The tracks of one take, sampled at every frame: times (N,) s; pose (N, 6) yaw, pitch, roll in degrees and x, y, z
    in cm; gaze (N, 2); face: (N,) by channel, which grows as it is needed."""

    def __init__(self, seconds: float, seed: int, fps: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.count = max(2, round(seconds * fps))
        self.fps, self.times = fps, np.arange(self.count) / fps
        self.end = float(self.times[-1])
        self.face: dict[str, F64] = {}
        self.pose = np.zeros((self.count, 6))
        self.gaze = np.zeros((self.count, 2))

    def between(self, low: float, high: float) -> float:
        """A number by chance."""
        return float(self.chance.uniform(low, high))

    def channel(self, name: str) -> F64:
        """(N,) the track of that name."""
        return self.face.setdefault(name, np.zeros(self.count))

    def bump(self, at: float, width: float) -> F64:
        """(N,) a smooth rise to 1 at time `at` and back; width: standard deviation, s."""
        return np.asarray(np.exp(-0.5 * ((self.times - at) / width) ** 2))

    def inside(self, edge: float = 0.5) -> F64:
        """(N,) 0 at both ends, 1 in between."""
        edge = min(edge, self.end / 2)
        t = np.clip(np.minimum(self.times, self.end - self.times) / max(edge, 1e-6), 0, 1)
        return np.asarray(t * t * (3 - 2 * t))


def speaking(seconds: float, seed: int, fps: int) -> Take:
    """One take of `seconds`."""
    take = Take(seconds, seed, fps)
    phrases = plan_phrases(take)
    for start, end in phrases:
        speak(take, start, end)
    for name in list(take.face):  # a mouth has mass: no shape is reached in one frame
        take.face[name] = gaussian_filter1d(take.face[name], 0.030 * fps)
    move_head(take, phrases)
    raise_brows(take, phrases)
    take.channel("mouthSmileLeft")[:] += 0.10 * take.inside()
    take.channel("mouthSmileRight")[:] += 0.08 * take.inside()
    look_about(take)
    blink(take)
    for track in take.face.values():
        np.clip(track, 0, 1, out=track)
        track[[0, -1]] = 0
    return take


def plan_phrases(take: Take) -> list[tuple[float, float]]:
    """Start and end of every phrase, with breaths between them."""
    out, now = [], min(0.5, take.end / 4)
    while now < take.end - 0.6:
        stop = min(now + take.between(1.2, 2.6), take.end - 0.35)
        out.append((now, stop))
        now = stop + take.between(0.3, 0.65)
    return out


def speak(take: Take, start: float, end: float) -> None:
    """Syllables from `start` to `end`: consonant, vowel, now and then a stress."""
    now = start
    while now < end - 0.08:
        length = take.between(0.16, 0.27)
        stress = take.between(0.65, 1.05) * (1.2 if take.chance.random() < 0.25 else 1.0)
        vowel, consonant = (shapes[take.chance.integers(len(shapes))] for shapes in (VOWELS, CONSONANTS))
        hold(take, consonant, now, now + 0.36 * length, 1.0)
        hold(take, vowel, now + 0.36 * length, now + length, stress)
        now += length


def hold(take: Take, shape: Shape, start: float, end: float, scale: float) -> None:
    """The mouth has this shape from `start` to `end`."""
    during = (take.times >= start) & (take.times < end)
    for name, value in shape.items():
        for channel in (name + "Left", name + "Right") if name in PAIRED else (name,):
            take.channel(channel)[during] = value * scale


def move_head(take: Take, phrases: list[tuple[float, float]]) -> None:
    """Slow sway, a turn at each phrase, nods on stresses; the head turns about the neck, so it also travels."""
    yaw, pitch, roll = np.zeros((3, take.count))
    for track, size in ((yaw, 2.6), (pitch, 1.5), (roll, 1.3)):
        for rate in (0.13, 0.29, 0.47):
            track += size * take.between(0.4, 1) * np.sin(2 * np.pi * (rate * take.times + take.between(0, 1)))
    side = 1.0 if take.chance.random() < 0.5 else -1.0
    for start, end in phrases:
        turn, width = side * take.between(3, 9), (end - start) / 2.6
        yaw += turn * take.bump((start + end) / 2, width)
        roll += 0.35 * turn * take.bump((start + end) / 2, width)
        side = -side
        for _ in range(take.chance.integers(1, 3)):
            at, size = take.between(start, end), take.between(2.0, 4.5)
            pitch += size * (0.4 * take.bump(at - 0.22, 0.09) - take.bump(at, 0.11))
    take.pose[:, :3] = np.column_stack([yaw, pitch, roll]) * take.inside(0.7)[:, None]
    y, p, r = np.radians(take.pose[:, :3]).T
    take.pose[:, 3] = NECK[2] * np.sin(y) + NECK[1] * np.sin(r)
    take.pose[:, 4] = NECK[2] * np.sin(p) + NECK[1] * (np.cos(p) * np.cos(r) - 1)
    take.pose[:, 5] = NECK[2] * (np.cos(y) * np.cos(p) - 1) - NECK[1] * np.sin(p)


def raise_brows(take: Take, phrases: list[tuple[float, float]]) -> None:
    """A raise now and then where a phrase begins, a slight frown elsewhere."""
    for start, end in phrases:
        if take.chance.random() < 0.6:
            rise = take.between(0.3, 0.7) * take.bump(start + 0.25, 0.22) * take.inside()
            take.channel("browInnerUp")[:] += rise
            for side in ("Left", "Right"):
                take.channel("browOuterUp" + side)[:] += 0.6 * rise
                take.channel("eyeWide" + side)[:] += 0.4 * rise
        else:
            frown = take.between(0.15, 0.4) * take.bump((start + end) / 2, 0.3) * take.inside()
            for side in ("Left", "Right"):
                take.channel("browDown" + side)[:] += frown
                take.channel("eyeSquint" + side)[:] += 0.5 * frown


def look_about(take: Take) -> None:
    """Mostly at the viewer, whatever the head does, with short glances away; eyes jump, they do not glide."""
    away = np.zeros((take.count, 2))
    now = take.between(0.8, 1.6)
    while now < take.end - 0.8:
        until = now + take.between(0.35, 0.9)
        glance = [take.between(0.2, 0.5) * take.chance.choice([-1, 1]), take.between(-0.25, 0.2)]
        away[(take.times >= now) & (take.times < until)] = glance
        now = until + take.between(0.9, 2.2)
    jumped = gaussian_filter1d(away, 0.018 * take.fps, axis=0)
    head = take.pose[:, :2] / [-38.0, -30.0]
    take.gaze[:] = np.clip((jumped + head) * take.inside(0.3)[:, None], -1, 1)


def blink(take: Take) -> None:
    """Every 2 to 4 s, about 0.15 s long, fully shut for one frame; lids fall faster than they rise."""
    now = take.between(0.7, 1.6)
    while now < take.end - 0.3:
        shut = round(now * take.fps) / take.fps
        late = take.times - shut
        lid = np.clip(np.where(late < 0, 1 + late / 0.085, 1 - late / 0.15), 0, 1)
        for side in ("Left", "Right"):
            track = take.channel("eyeBlink" + side)
            np.maximum(track, lid * lid * (3 - 2 * lid), out=track)
        now += take.between(2.0, 4.0)
