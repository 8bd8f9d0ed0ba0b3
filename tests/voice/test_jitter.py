"""When frames are played."""

from __future__ import annotations

from agent.voice.jitter import JitterBuffer

FRAME_S = 0.064


def test_first_frame_waits_for_its_lead() -> None:
    """60 ms, no longer, and then all that is there flows."""
    buffer = JitterBuffer()
    buffer.put(b"1", FRAME_S, 10.0)
    assert buffer.take(10.0) is None
    assert buffer.take(10.059) is None
    assert buffer.take(10.06) == b"1"
    assert buffer.take(10.06) is None
    buffer.put(b"2", FRAME_S, 10.064)
    assert buffer.take(10.064) == b"2"


def test_small_frames_are_put_together() -> None:
    """Up to the length of an ordinary one, in their order; the sum of their sound is what counts."""
    buffer = JitterBuffer()
    for number in range(128):
        buffer.put(bytes([number]), 0.001, 10.0)
    assert abs(buffer.held_s - 0.128) < 1e-6
    pieces = []
    while (piece := buffer.take(10.1)) is not None:
        pieces.append(piece)
    assert b"".join(pieces) == bytes(range(128))
    assert len(pieces) <= 3


def test_enough_does_not_wait() -> None:
    """Two frames at once are played at once."""
    buffer = JitterBuffer()
    buffer.put(b"1", FRAME_S, 10.0)
    buffer.put(b"2", FRAME_S, 10.0)
    assert buffer.take(10.0) == b"1"
    assert buffer.take(10.0) == b"2"


def test_the_end_does_not_wait() -> None:
    """A short announcement is complete before its lead is over."""
    buffer = JitterBuffer()
    buffer.put(b"1", 0.01, 10.0)
    buffer.end()
    assert not buffer.over
    assert buffer.take(10.0) == b"1"
    assert buffer.over


def test_late_frames_within_the_lead_leave_no_gap() -> None:
    """Each frame comes up to 60 ms late: what is taken never runs out before the next one is there."""
    buffer = JitterBuffer()
    arrivals = [n * FRAME_S + late for n, late in enumerate((0, 0.05, 0.0, 0.059, 0.03, 0.059, 0.0, 0.059))]
    sounds_until = None
    for number, arrival in enumerate(arrivals):
        buffer.put(str(number).encode(), FRAME_S, arrival)
        now = max(arrival, 0.06)
        if sounds_until is not None:
            assert now <= sounds_until
        while buffer.take(now):
            sounds_until = max(now, sounds_until or now) + FRAME_S
    assert buffer.gaps == 0


def test_a_frame_that_comes_too_late_is_waited_with_again() -> None:
    """After a silence the lead is taken anew, so that the rest does not stutter."""
    buffer = JitterBuffer()
    buffer.put(b"1", FRAME_S, 0.0)
    assert buffer.take(0.06) == b"1"
    buffer.put(b"2", FRAME_S, 0.2)
    assert buffer.gaps == 1
    assert buffer.take(0.2) is None
    buffer.put(b"3", FRAME_S, 0.25)
    assert buffer.take(0.25) == b"2"
    assert buffer.take(0.25) == b"3"
    assert buffer.gaps == 1


def test_a_burst_is_kept_whole() -> None:
    """A server that sends everything at once loses nothing."""
    buffer = JitterBuffer()
    for number in range(100):
        buffer.put(bytes([number]), FRAME_S, 0.0)
    assert abs(buffer.held_s - 6.4) < 1e-9
    assert b"".join(buffer.take(0.0) or b"" for _ in range(100)) == bytes(range(100))
    buffer.put(b"late", FRAME_S, 6.3)
    assert buffer.gaps == 0


def test_nothing_is_held_when_everything_was_taken() -> None:
    """Durations that binary fractions cannot hold leave no rest behind."""
    buffer = JitterBuffer()
    for duration_s in (0.064, 0.036, 0.1, 0.0003):
        buffer.put(b"1", duration_s, 0.0)
    while buffer.take(0.0):
        pass
    assert buffer.held_s == 0


def test_cleared() -> None:
    """Nothing of it is played any more, and it can be used again."""
    buffer = JitterBuffer()
    buffer.put(b"1", FRAME_S, 0.0)
    buffer.clear()
    assert buffer.take(1.0) is None
    assert buffer.held_s == 0
    buffer.put(b"2", FRAME_S, 2.0)
    assert buffer.take(2.06) == b"2"
