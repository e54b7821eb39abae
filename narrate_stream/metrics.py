"""What the live server counts: rolling numbers for one driver's HUD, and Prometheus for the operator.

Convention: durations are seconds inside Prometheus (its habit) and milliseconds in `stats` (a HUD's habit).
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

WINDOW_S = 2.0
LATENCY_BUCKETS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.09, 0.15, 0.3, 1.0)


class Metrics:
    """The server's Prometheus metrics in a registry of their own (two apps in one process do not collide)."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kw: Any = {"registry": self.registry}
        self.peers = Gauge("narrate_peers", "Connected or connecting peers", ["role"], **kw)
        self.sessions = Counter("narrate_sessions", "Peer connections that were negotiated", ["role"], **kw)
        self.rejected = Counter("narrate_rejected", "Offers and messages refused", ["code"], **kw)
        self.frames = Counter("narrate_frames", "Frames by fate: in, out, dropped, failed", ["fate"], **kw)
        self.sent_bytes = Counter("narrate_sent_bytes", "Encoded picture bytes handed to peers", **kw)
        self.latency = Histogram(
            "narrate_frame_latency_seconds", "Decoded frame to encoded avatar", buckets=LATENCY_BUCKETS, **kw
        )

    def render(self) -> bytes:
        """The text a Prometheus server scrapes."""
        return generate_latest(self.registry)


class Meter:
    """Rolling numbers of one driver: rates over the last two seconds, latency percentiles over the same window."""

    def __init__(self, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._now = metrics, now
        self._events: dict[str, deque[float]] = {fate: deque(maxlen=512) for fate in ("in", "out", "dropped", "failed")}
        self._latencies: deque[tuple[float, float]] = deque(maxlen=512)
        self._bytes: deque[tuple[float, int]] = deque(maxlen=1024)
        self.totals: Tally[str] = Tally()
        self.delay_s = 0.0

    def count(self, fate: str, n: int = 1) -> None:
        """`n` frames came in, went out, were dropped or failed."""
        if n <= 0:
            return
        now = self._now()
        self._events[fate].extend([now] * n)
        self.totals[fate] += n
        self._metrics.frames.labels(fate).inc(n)

    def latency(self, seconds: float) -> None:
        """One frame took this long from decoded to encoded; `delay_s` follows slowly (the audio keeps to it)."""
        self._latencies.append((self._now(), seconds))
        self.delay_s = seconds if not self.delay_s else self.delay_s + 0.05 * (seconds - self.delay_s)
        self._metrics.latency.observe(seconds)

    def sent(self, size: int) -> None:
        """`size` bytes were handed to one peer."""
        self._bytes.append((self._now(), size))
        self._metrics.sent_bytes.inc(size)

    def rate(self, fate: str) -> float:
        """Frames a second of that fate."""
        return sum(t > self._now() - WINDOW_S for t in self._events[fate]) / WINDOW_S

    def stats(self) -> dict[str, Any]:
        """The HUD's numbers: fps in and out, dropped so far, latency ms, bitrate kbit/s."""
        since = self._now() - WINDOW_S
        recent = sorted(s for t, s in self._latencies if t > since)

        def at(quantile: float) -> float | None:
            return round(1000 * recent[min(len(recent) - 1, int(quantile * len(recent)))], 1) if recent else None

        return {
            "fps_in": round(self.rate("in"), 1),
            "fps_out": round(self.rate("out"), 1),
            "dropped": self.totals["dropped"],
            "failed": self.totals["failed"],
            "latency_ms": at(0.5),
            "latency_p95_ms": at(0.95),
            "bitrate_kbps": round(8 * sum(n for t, n in self._bytes if t > since) / WINDOW_S / 1000),
        }
