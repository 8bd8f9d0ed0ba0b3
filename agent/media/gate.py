"""Slots for downloads: the lowest urgency value goes first, and a running download can be asked to give way."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

WANTED_NOW = 0
"""The urgency of what somebody is waiting for."""


@dataclass(eq=False)
class Ticket:
    """One download's place. `give_way` is set by the gate; `can_give_way` by the download, once it can go on later."""

    urgency: int
    can_give_way: bool = False
    give_way: bool = False
    number: int = 0
    admitted: asyncio.Event = field(default_factory=asyncio.Event)


class Gate:
    """At most `slots` downloads at a time, and one more for an urgent one that nobody can make room for."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._numbers = itertools.count()
        self._waiting: list[Ticket] = []
        self._running: list[Ticket] = []

    @contextlib.asynccontextmanager
    async def slot(self, ticket: Ticket) -> AsyncIterator[None]:
        """Waits for a slot and holds it."""
        ticket.number = next(self._numbers)
        ticket.give_way = ticket.can_give_way = False
        ticket.admitted.clear()
        self._waiting.append(ticket)
        try:
            self.look()
            await ticket.admitted.wait()
            yield
        finally:
            for tickets in (self._waiting, self._running):
                if ticket in tickets:
                    tickets.remove(ticket)
            self.look()

    def look(self) -> None:
        """Admits who may go; asks less urgent ones to give way. To be called when a ticket has changed."""
        self._waiting.sort(key=lambda ticket: (ticket.urgency, ticket.number))
        while self._waiting and (len(self._running) < self._slots or self._is_blocked()):
            ticket = self._waiting.pop(0)
            self._running.append(ticket)
            ticket.admitted.set()
        asked = sum(ticket.give_way for ticket in self._running)
        for waiting in self._waiting[asked:]:
            able = [ticket for ticket in self._running if ticket.can_give_way and not ticket.give_way]
            last = max(able, key=lambda ticket: (ticket.urgency, ticket.number), default=None)
            if last is None or last.urgency <= waiting.urgency:
                break
            last.give_way = True

    def _is_blocked(self) -> bool:
        """Whether what is wanted now waits for downloads that are not and cannot give way: then one more is admitted."""
        return (
            self._waiting[0].urgency <= WANTED_NOW
            and len(self._running) == self._slots
            and not any(t.urgency <= WANTED_NOW or t.can_give_way or t.give_way for t in self._running)
        )

    def set_slots(self, slots: int) -> None:
        """Changes the number of slots; running downloads go on."""
        self._slots = slots
        self.look()
