"""The one-slot mailbox of live video: the newest item wins, the one it replaces is counted as dropped.

`Latest` lives on one event loop; `LatestAcrossThreads` joins a capture thread to a working thread.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class ClosedError(Exception):
    """The mailbox was closed and is empty."""


class Latest(Generic[T]):
    """A mailbox for one event loop: `put` never waits, `get` waits for something newer than the last `get`."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._full = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Leave `item`; one that still waits there is dropped. After `close` nothing is kept."""
        if self._closed:
            return
        self.dropped += self._item is not None
        self._item = item
        self._full.set()

    async def get(self) -> T:
        """Take the newest item. Raises ClosedError once the mailbox is closed; what waited then is gone."""
        await self._full.wait()
        if self._closed or self._item is None:
            raise ClosedError
        item, self._item = self._item, None
        self._full.clear()
        return item

    def close(self) -> None:
        """Wake the reader for the last time."""
        self._closed, self._item = True, None
        self._full.set()


class LatestAcrossThreads(Generic[T]):
    """The same between two threads; an item left before `close` can still be taken."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Leave `item`; one that still waits there is dropped."""
        with self._changed:
            self.dropped += self._item is not None
            self._item = item
            self._changed.notify()

    def get(self, timeout: float) -> T | None:
        """Take the newest item, or None after `timeout` seconds. Raises ClosedError when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            if item is None and self._closed:
                raise ClosedError
            return item

    def close(self) -> None:
        """Wake the reader for the last time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
