"""Whether somebody drives: the avatar's way to rest when a face is lost, its idling, and its way back to a face."""

from __future__ import annotations

import numpy as np

from narrate_stream.bundle import HybridModel
from narrate_stream.idle import Idle, added, between, smooth
from narrate_stream.types import AvatarMotion, Pose

HOLD = 0.8  # seconds in which a lost face eases to neutral
RETURN = 0.3  # seconds in which one that is found again takes over
IDLE_AFTER = 1.2  # seconds after a face is lost, or none came, until the portrait begins to live by itself
IDLE_EASE = 2.0  # seconds in which that fades in and out


def still_motion() -> AvatarMotion:
    """The portrait as it is."""
    zero = np.zeros((468, 3), np.float32)
    return AvatarMotion(Pose(), zero, np.zeros((2, 2), np.float32), np.zeros(3, np.float32))


class Presence:
    """Goes between a driver's motion and the portrait's own. motion: what was shown last; seen: whether a face was
    followed in it; idles: whether the portrait may breathe and blink while none is."""

    def __init__(self, model: HybridModel, idles: bool) -> None:
        self.motion = self._left = still_motion()
        self.seen, self.idles = False, idles
        self._idle = Idle(model)
        self._lost, self._found = 0.0, RETURN  # seconds since
        self._share, self._since = 0.0, 0.0  # how far the idling has faded in, and the time when it began

    def follow(self, now: AvatarMotion, seconds: float) -> AvatarMotion:
        """A face is seen: its motion `now`, `seconds` after the last; after a pause it takes over step by step, and the
        sooner the shorter the pause was."""
        if self._lost:
            self._found, self._left = max(0.0, RETURN - self._lost), self.motion
        self._lost, self._share, self.seen = 0.0, 0.0, True
        self._found += seconds
        self.motion = now if self._found >= RETURN else between(self._left, now, smooth(self._found / RETURN))
        return self.motion

    def hold(self, time: float, seconds: float) -> AvatarMotion:
        """No face is seen at `time`, `seconds` after the last: eases to the portrait, which then idles or stays."""
        if not self._lost:
            self._left = self.motion
        self._lost, self.seen = self._lost + seconds, False
        self._left = between(still_motion(), self._left, float(np.exp(-seconds / (HOLD / 3))))
        self.motion = self._living(self._left, time, seconds)
        return self.motion

    def _living(self, rest: AvatarMotion, time: float, seconds: float) -> AvatarMotion:
        """`rest` with idle motion on top, as far as that has faded in."""
        if self._share == 0:
            self._since = time
        wanted = self.idles and self._lost > IDLE_AFTER
        self._share = float(np.clip(self._share + (seconds if wanted else -seconds) / IDLE_EASE, 0, 1))
        return added(rest, self._idle(time, self._since), smooth(self._share)) if self._share else rest
