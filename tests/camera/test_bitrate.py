"""The bitrate all viewers share."""

from __future__ import annotations

from itertools import pairwise

from agent.camera.bitrate import FLOOR_BPS, HOPELESS_BPS, RAISE_AFTER_S, SharedRate

FULL = 2_500_000


class Lines:
    """Viewers whose lines carry what they are said to, and an encoder that uses what it may."""

    def __init__(self, *capacities: int, picture_bps: int = FULL, configured: int = FULL) -> None:
        self.rate = SharedRate(configured)
        self.now = 1000.0
        self.capacities = dict(enumerate(capacities))
        self.picture_bps = picture_bps
        self.seen: list[int] = []
        for viewer in self.capacities:
            self.rate.join(viewer, self.now)

    def go_on(self, seconds: float) -> int:
        """As browsers behave: they estimate at most half as much again as they get, and less than the line when it is full."""
        for _ in range(round(seconds)):
            self.now += 1.0
            sent = min(self.rate.bps, self.picture_bps)
            for viewer, capacity in self.capacities.items():
                full = sent > capacity
                self.rate.estimate(viewer, int(0.85 * capacity if full else min(capacity, 1.5 * sent)), self.now)
                self.rate.loss(viewer, max(0.0, 1 - capacity / sent) if full else 0.0, self.now)
            self.rate.decide(self.now, sent)
            self.seen.append(self.rate.bps)
        return self.rate.bps


def test_good_lines_get_the_configured_bitrate() -> None:
    """And keep it."""
    assert Lines(10_000_000, 50_000_000).go_on(120) == FULL


def test_a_still_picture_makes_no_line_look_narrow() -> None:
    """Viewers estimate from what they get; that is little, and no reason to allow less."""
    assert Lines(10_000_000, picture_bps=100_000).go_on(120) == FULL


def test_the_first_estimates_are_not_believed() -> None:
    """They say more about the start than about the line."""
    rate = SharedRate(FULL)
    rate.join(1, 0.0)
    rate.decide(0.5, FULL)
    for now in (0.5, 1.0, 2.0, 2.9):
        rate.estimate(1, 400_000, now)
        assert rate.decide(now, FULL) == FULL


def test_a_narrow_line_lowers_it_for_all() -> None:
    """In steps, soon, to what the line carries, and no further."""
    lines = Lines(10_000_000, 1_200_000)
    lines.go_on(6)
    assert lines.rate.bps < FULL
    settled = lines.go_on(30)
    assert 600_000 < settled <= 1_200_000
    assert len(set(lines.seen)) <= 5


def test_it_does_not_swing() -> None:
    """A line between two steps: each try to raise it that fails makes the next one come later."""
    lines = Lines(1_300_000)
    lines.go_on(30)
    lines.seen.clear()
    lines.go_on(600)
    changes = sum(before != after for before, after in pairwise(lines.seen))
    assert changes <= 24
    assert min(lines.seen) >= FLOOR_BPS


def test_it_is_raised_when_the_line_recovers() -> None:
    """Slowly: one step at a time, to the full bitrate."""
    lines = Lines(700_000)
    low = lines.go_on(30)
    lines.capacities[0] = 20_000_000
    lines.seen = [low]
    assert lines.go_on(240) == FULL
    raises = [second for second, (before, after) in enumerate(pairwise(lines.seen)) if after > before]
    assert len(raises) >= 3
    assert all(after - before >= RAISE_AFTER_S for before, after in pairwise(raises))
    assert lines.seen == sorted(lines.seen)


def test_the_floor() -> None:
    """A line that carries little less than the floor is still waited for, no lower than that."""
    assert Lines(260_000).go_on(60) == FLOOR_BPS


def test_nobody_waits_for_a_hopeless_viewer() -> None:
    """The others keep what they had, or have it again within seconds."""
    lines = Lines(10_000_000, HOPELESS_BPS // 2)
    lines.go_on(120)
    assert lines.rate.is_hopeless(1)
    assert not lines.rate.is_hopeless(0)
    assert lines.rate.bps == FULL
    assert lines.seen.count(FULL) > 60


def test_a_viewer_alone_and_hopeless_gets_the_floor() -> None:
    """Better than nothing."""
    assert Lines(50_000).go_on(30) == FLOOR_BPS


def test_hope_returns() -> None:
    """A viewer whose line is good again counts again."""
    lines = Lines(10_000_000, 60_000)
    lines.go_on(60)
    assert lines.rate.is_hopeless(1)
    lines.capacities[1] = 1_000_000
    lines.go_on(5)
    for _ in range(5):
        lines.now += 1
        lines.rate.estimate(1, 900_000, lines.now)
        lines.rate.loss(1, 0.0, lines.now)
        lines.rate.decide(lines.now, FULL)
    assert not lines.rate.is_hopeless(1)


def test_loss_alone_lowers_it() -> None:
    """Viewers that estimate nothing still say what they lost; a little loss is usual."""
    rate = SharedRate(FULL)
    rate.join(1, 0.0)
    for second in range(20):
        rate.loss(1, 0.05, float(second))
        assert rate.decide(float(second), FULL) == FULL
    for second in range(20, 26):
        rate.loss(1, 0.2, float(second))
        rate.decide(float(second), FULL)
    assert rate.bps < FULL


def test_the_last_viewer_takes_everything_along() -> None:
    """The next one begins with the full bitrate."""
    lines = Lines(500_000)
    assert lines.go_on(30) < FULL
    lines.rate.leave(0, lines.now)
    assert lines.rate.bps == FULL
    lines.rate.estimate(0, 1, lines.now)
    lines.rate.loss(0, 1.0, lines.now)
    assert lines.rate.decide(lines.now + 100, FULL) == FULL


def test_a_configured_bitrate_below_the_floor() -> None:
    """It is what there is."""
    assert Lines(10_000, configured=100_000).go_on(30) == 100_000
