from __future__ import annotations

import asyncio
import threading
import time

import pytest

from narrate_stream.latest import ClosedError, Latest, LatestAcrossThreads


def test_the_newest_wins_and_drops_are_counted() -> None:
    async def run() -> None:
        box: Latest[int] = Latest()
        for n in range(5):
            box.put(n)
        assert await box.get() == 4
        assert box.dropped == 4
        box.put(7)
        assert await box.get() == 7
        assert box.dropped == 4

    asyncio.run(run())


def test_get_waits_for_something_new() -> None:
    async def run() -> None:
        box: Latest[int] = Latest()
        reader = asyncio.ensure_future(box.get())
        await asyncio.sleep(0.01)
        assert not reader.done()
        box.put(1)
        assert await asyncio.wait_for(reader, 1) == 1

    asyncio.run(run())


def test_close_wakes_the_reader_and_keeps_nothing() -> None:
    async def run() -> None:
        box: Latest[int] = Latest()
        reader = asyncio.ensure_future(box.get())
        await asyncio.sleep(0)
        box.close()
        with pytest.raises(ClosedError):
            await asyncio.wait_for(reader, 1)
        box.put(1)
        with pytest.raises(ClosedError):
            await box.get()

    asyncio.run(run())


def test_across_threads() -> None:
    box: LatestAcrossThreads[int] = LatestAcrossThreads()
    assert box.get(0.01) is None
    seen: list[int] = []

    def read() -> None:
        try:
            while True:
                if (n := box.get(1)) is not None:
                    seen.append(n)
                    time.sleep(0.005)
        except ClosedError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(200):
        box.put(n)
    box.close()
    reader.join(2)
    assert not reader.is_alive()
    assert seen[-1] == 199  # what was left before the end is still taken
    assert seen == sorted(seen)
    assert len(seen) + box.dropped == 200
