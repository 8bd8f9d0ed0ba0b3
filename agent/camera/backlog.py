"""What waits for a worker that cannot take it yet: bounded, however much comes meanwhile. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.camera.messages import MOST_CANDIDATES, Candidate, Close, Offer, Open

ToWorker = Open | Offer | Candidate | Close


class Backlog:
    """Messages to the worker; of each session its opening, its newest offer, and so many candidates as are used at most."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return sum(len(waiting.messages()) for waiting in self._sessions.values())

    def put(self, message: ToWorker) -> None:
        """One more; the end of a session makes up for what waits of it."""
        key = message.session
        match message:
            case Open():
                self._sessions.pop(key, None)
                self._sessions[key] = _Waiting(first=message)
            case Close():
                waiting = self._sessions.pop(key, None)
                # One that waits to be opened is not known to the worker.
                if waiting is None or not isinstance(waiting.first, Open):
                    self._sessions[key] = _Waiting(first=message)
            case Offer():
                self._sessions.setdefault(key, _Waiting()).offer = message
            case Candidate():
                waiting = self._sessions.setdefault(key, _Waiting())
                if len(waiting.candidates) < MOST_CANDIDATES:
                    waiting.candidates.append(message)

    def forget(self, key: str) -> None:
        """Nothing of that session is to be said."""
        self._sessions.pop(key, None)

    def take(self) -> list[ToWorker]:
        """All, in an order in which it can be said; nothing waits afterwards."""
        sessions, self._sessions = self._sessions, {}
        return [message for waiting in sessions.values() for message in waiting.messages()]


@dataclass(slots=True)
class _Waiting:
    """Of one session."""

    first: Open | Close | None = None
    offer: Offer | None = None
    candidates: list[Candidate] = field(default_factory=list)

    def messages(self) -> list[ToWorker]:
        """As they are to be said."""
        return [message for message in (self.first, self.offer, *self.candidates) if message is not None]
