from __future__ import annotations

from narrate_stream.metrics import Meter, Metrics


def test_rates_and_percentiles_cover_the_window_only() -> None:
    clock = [100.0]
    meter = Meter(Metrics(), now=lambda: clock[0])
    for n in range(90):  # three seconds at 30 a second
        clock[0] = 100 + n / 30
        meter.count("in")
        meter.latency(0.010 if n % 10 else 0.050)
        meter.sent(1000)
    stats = meter.stats()
    assert abs(stats["fps_in"] - 30) < 1
    assert stats["latency_ms"] == 10.0
    assert stats["latency_p95_ms"] == 50.0
    assert abs(stats["bitrate_kbps"] - 240) < 8
    clock[0] += 10
    assert meter.stats()["fps_in"] == 0
    assert meter.stats()["latency_ms"] is None
    assert 0.01 < meter.delay_s < 0.05


def test_two_apps_do_not_share_a_registry() -> None:
    one, other = Metrics(), Metrics()
    Meter(one).count("dropped", 3)
    Meter(one).count("dropped", 0)
    assert b'narrate_frames_total{fate="dropped"} 3.0' in one.render()
    assert b'fate="dropped"' not in other.render()
