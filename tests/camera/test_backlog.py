"""What waits for a worker."""

from __future__ import annotations

from agent.camera.backlog import Backlog
from agent.camera.messages import MOST_CANDIDATES, Candidate, Close, Offer, Open


def test_what_waits_is_bounded_and_in_order() -> None:
    """Of each session the opening, the newest offer and some candidates; taken once."""
    backlog = Backlog()
    backlog.put(Open("one"))
    for number in range(1000):
        backlog.put(Candidate("one", str(number)))
        backlog.put(Offer("one", str(number)))
    backlog.put(Open("two"))
    taken = backlog.take()
    assert taken[:3] == [Open("one"), Offer("one", "999"), Candidate("one", "0")]
    assert taken[-1] == Open("two")
    assert len(taken) == 3 + MOST_CANDIDATES
    assert (len(backlog), backlog.take()) == (0, [])


def test_the_end_of_a_session() -> None:
    """One that was never told of leaves nothing; one that is known is closed."""
    backlog = Backlog()
    backlog.put(Open("new"))
    backlog.put(Offer("new", "x"))
    backlog.put(Close("new"))
    backlog.put(Offer("known", "x"))
    backlog.put(Close("known"))
    backlog.put(Candidate("forgotten", "x"))
    backlog.forget("forgotten")
    assert backlog.take() == [Close("known")]
