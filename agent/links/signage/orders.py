"""When the server's playlists are fetched, and what for."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from agent.links.signage.messages import Id


@dataclass(frozen=True, slots=True)
class Order:
    """What a fetch is for."""

    again: bool = False
    """Report also what was reported before."""
    switch_to: Id | None = None

    def merged(self, other: Order) -> Order:
        """Both in one; `other` is the newer one."""
        return Order(self.again or other.again, self.switch_to if other.switch_to is None else other.switch_to)


class Orders:
    """The next fetch: one that was asked for, or the regular one.

    `regular_s` seconds lie between two regular ones. While `is_incomplete` (something is missing that may come), the next one
    comes after `retry_s` already, each time twice as late.
    """

    def __init__(self, regular_s: float, retry_s: float, is_incomplete: Callable[[], bool]) -> None:
        self._regular_s = regular_s
        self._first_retry_s = self._retry_s = retry_s
        self._is_incomplete = is_incomplete
        self._order: Order | None = None
        self._event = asyncio.Event()
        self._begun_at = 0.0

    def add(self, order: Order) -> None:
        """Asks for a fetch; several orders before it begins are carried out together."""
        self._order = order if self._order is None else self._order.merged(order)
        self._event.set()

    def look_again(self) -> None:
        """Something has become complete or incomplete."""
        self._event.set()

    async def next(self) -> Order:
        """Waits for the next fetch to be due; returns what it is for."""
        loop = asyncio.get_running_loop()
        while True:
            self._event.clear()
            incomplete = self._is_incomplete()
            due = self._begun_at + (min(self._retry_s, self._regular_s) if incomplete else self._regular_s)
            if self._order is None and loop.time() < due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._event.wait()
                continue
            order, self._order = self._order or Order(), None
            self._begun_at = loop.time()
            self._retry_s = min(self._regular_s, self._retry_s * random.uniform(1.5, 2.5)) if incomplete else self._first_retry_s
            return order

    async def again_after(self, order: Order, wait_s: float) -> None:
        """The fetch failed: it is due again after `wait_s`, or as soon as another one is asked for."""
        if self._order is None:
            self._event.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while self._order is None:
                        await self._event.wait()
                        self._event.clear()
        self._order = order if self._order is None else order.merged(self._order)
