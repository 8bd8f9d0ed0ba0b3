"""Who is shown when, and what is acknowledged: stories with a clock of their own (tronbyt contract, section 3)."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from agent.links.tronbyt.pacing import EARLY_S, FAILED_S, OVERTAKES_S, PATIENCE_S, Ack, Action, Pacing, Show


class Story:
    """A rotation on a screen that needs `latency_s` for each image; what happens is written down, `said` and `shown`."""

    def __init__(self, *, latency_s: float = 0.0) -> None:
        self.pacing = Pacing()
        self.now = 100.0
        self.latency_s = latency_s
        self.said: list[str] = []
        self.shown: list[int] = []
        """Images that were handed to the screen."""
        self.broken: set[int] = set()
        self.cycles: dict[int, float] = {}
        self.displayed_at: dict[int, float] = {}
        self._coming: tuple[float, int] | None = None

    def do(self, actions: list[Action]) -> None:
        """Carries out what was decided; the screen reports after its latency."""
        for action in actions:
            if isinstance(action, Show):
                self.shown.append(action.number)
                self._coming = (self.now + self.latency_s, action.number)
            else:
                assert isinstance(action, Ack)
                self.said.append(f"{action.kind} {action.number}")
                if action.kind == "displaying":
                    self.displayed_at[action.number] = self.now
        if self._coming is not None and self._coming[0] <= self.now:
            self._report()

    def receive(self, number: int, dwell_s: float = 10.0, *, showable: bool = True) -> None:
        """An image comes."""
        self.do(self.pacing.received(number, dwell_s, self.now, showable=showable))

    def immediate(self) -> None:
        """The server wants its newest image shown now."""
        self.do(self.pacing.immediate(self.now))

    def wait(self, seconds: float) -> None:
        """Time passes; deadlines are kept."""
        end = self.now + seconds
        for _ in range(10_000):
            due = self.pacing.deadline()
            times = [time for time in (due, self._coming[0] if self._coming else None) if time is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            if self._coming is not None and self._coming[0] <= self.now:
                self._report()
            else:
                self.do(self.pacing.tick(self.now))
        else:
            raise AssertionError("deadlines that bring nothing about")
        self.now = end

    def told(self) -> list[str]:
        """What was said since it was asked for last."""
        said, self.said = self.said, []
        return said

    def _report(self) -> None:
        assert self._coming is not None
        (_, number), self._coming = self._coming, None
        if number in self.broken:
            self.do(self.pacing.failed(number, self.now))
        else:
            self.do(self.pacing.started(number, self.cycles.get(number), self.now))


def test_the_first_image_is_shown_when_it_comes() -> None:
    """Queued first, then displaying: two messages, and nothing more however long it stays."""
    story = Story()
    story.receive(1)
    assert story.told() == ["queued 1", "displaying 1"]
    story.wait(1000)
    assert story.told() == []
    assert story.pacing.deadline() is None


def test_displaying_is_said_when_it_is_on_the_screen() -> None:
    """Not when it is handed over."""
    story = Story(latency_s=0.05)
    story.receive(1)
    assert story.told() == ["queued 1"]
    story.wait(0.04)
    assert story.told() == []
    story.wait(0.02)
    assert story.told() == ["displaying 1"]


def test_the_next_image_is_held_until_the_dwell_is_over() -> None:
    """A server sends it at once; it is acknowledged as queued at once, and as displaying 10 s later."""
    story = Story()
    story.receive(1, dwell_s=10)
    story.receive(2, dwell_s=5)
    assert story.told() == ["queued 1", "displaying 1", "queued 2"]
    story.wait(9.99)
    assert story.told() == []
    story.wait(0.02)
    assert story.told() == ["displaying 2"]
    story.receive(3)
    story.wait(4.98)
    assert story.told() == ["queued 3"]
    story.wait(0.02)
    assert story.told() == ["displaying 3"]


def test_an_image_after_the_dwell_is_shown_when_it_comes() -> None:
    """There was nothing to show meanwhile, so the old one stayed."""
    story = Story()
    story.receive(1, dwell_s=10)
    story.wait(60)
    story.told()
    story.receive(2)
    assert story.told() == ["queued 2", "displaying 2"]


def test_one_slot_and_the_newest_wins() -> None:
    """What was replaced is neither shown nor acknowledged as displaying."""
    story = Story()
    for number in (1, 2, 3, 4):
        story.receive(number)
    story.wait(60)
    assert story.told() == ["queued 1", "displaying 1", "queued 2", "queued 3", "queued 4", "displaying 4"]
    assert story.shown == [1, 4]


def test_immediate() -> None:
    """The newest image, which waits, is shown now; its own dwell begins."""
    story = Story()
    story.receive(1, dwell_s=100)
    story.receive(2, dwell_s=7)
    story.wait(3)
    story.told()
    story.immediate()
    assert story.told() == ["displaying 2"]
    story.receive(3)
    story.wait(6.9)
    assert story.told() == ["queued 3"]
    story.wait(0.2)
    assert story.told() == ["displaying 3"]


def test_immediate_for_what_is_on_already() -> None:
    """Nothing; also not for the image that comes after it."""
    story = Story()
    story.receive(1, dwell_s=10)
    story.immediate()
    story.receive(2)
    assert story.told() == ["queued 1", "displaying 1", "queued 2"]
    story.wait(9.9)
    assert story.told() == []


def test_immediate_before_any_image() -> None:
    """Means nothing, and is not kept for the first."""
    story = Story()
    story.immediate()
    story.receive(1)
    story.receive(2)
    assert story.told() == ["queued 1", "displaying 1", "queued 2"]


def test_immediate_while_another_image_is_on_its_way() -> None:
    """That one gets there within a moment and is acknowledged; then at once the one that is wanted now."""
    story = Story(latency_s=0.05)
    story.receive(1)
    story.wait(0.02)
    story.receive(2)
    story.immediate()
    story.wait(0.2)
    assert story.told() == ["queued 1", "queued 2", "displaying 1", "displaying 2"]


def test_immediate_overtakes_what_takes_long() -> None:
    """An image that is hard to decode does not hold up what is wanted now; it is never acknowledged as displaying."""
    story = Story(latency_s=3.0)
    story.receive(1)
    story.receive(2)
    story.immediate()
    story.wait(OVERTAKES_S + 0.01)
    assert story.shown == [1, 2]
    story.wait(10)
    assert story.told() == ["queued 1", "queued 2", "displaying 2"]


def test_a_flood_of_immediate_images_gets_to_the_screen() -> None:
    """What is wanted now does not overtake what was wanted now: else none of them would ever be shown."""
    story = Story(latency_s=0.5)
    for number in range(1, 101):
        story.receive(number)
        story.immediate()
        story.wait(0.1)
    displayed = [said for said in story.told() if said.startswith("displaying")]
    assert len(displayed) >= 15


def test_the_image_that_is_wanted_now_was_replaced() -> None:
    """It never carries over to the later image."""
    story = Story(latency_s=0.05)
    story.receive(1, dwell_s=10)
    story.receive(2)
    story.immediate()
    story.receive(3)
    story.wait(9)
    assert story.told() == ["queued 1", "queued 2", "queued 3", "displaying 1"]
    story.wait(2)
    assert story.told() == ["displaying 3"]


def test_an_image_that_cannot_be_shown() -> None:
    """It is acknowledged at its turn, and the next may come about a second later."""
    story = Story()
    story.broken = {2}
    story.receive(1, dwell_s=10)
    story.receive(2, dwell_s=60)
    story.wait(9)
    assert story.told() == ["queued 1", "displaying 1", "queued 2"]
    story.wait(1)
    assert story.told() == ["displaying 2"]
    story.receive(3)
    story.wait(FAILED_S - 0.1)
    assert story.told() == ["queued 3"]
    story.wait(0.2)
    assert story.told() == ["displaying 3"]


def test_an_image_that_is_known_to_be_none() -> None:
    """The same, without troubling the screen; at once if it is wanted now."""
    story = Story()
    story.receive(1, dwell_s=10)
    story.receive(2, showable=False)
    story.wait(9.9)
    assert story.told() == ["queued 1", "displaying 1", "queued 2"]
    story.wait(0.2)
    assert story.told() == ["displaying 2"]
    story.receive(3, showable=False)
    story.immediate()
    assert story.told() == ["queued 3", "displaying 3"]
    assert story.shown == [1]


def test_no_image_is_wanted_now_while_another_is_on_its_way() -> None:
    """The one on its way is on the screen and acknowledged all the same."""
    story = Story(latency_s=0.05)
    story.receive(1)
    story.receive(2, showable=False)
    story.immediate()
    story.wait(5)
    assert story.told() == ["queued 1", "queued 2", "displaying 1", "displaying 2"]


@pytest.mark.parametrize(
    ("dwell_s", "cycle_s", "stays_s"),
    [
        (10, 3, 12),
        (10, 5, 10),
        (10, 25, 25),
        (10, 0.1, 10),
        (1, 0.3, 1.2),
        (10, 0.0, 10),
        (10, float("nan"), 10),
        (10, float("inf"), 10),
        (10, -4, 10),
        (10, 100_000, 3600),
        (3600, 7000, 3600),
    ],
)
def test_a_cycle_is_finished(dwell_s: float, cycle_s: float, stays_s: float) -> None:
    """The animation loops for the dwell, then on to the end of its cycle, but not for hours; the next one is a little early."""
    story = Story()
    story.cycles[1] = cycle_s
    story.receive(1, dwell_s=dwell_s)
    story.receive(2)
    if 0 < cycle_s < math.inf:
        stays_s -= EARLY_S
    story.wait(stays_s - 0.01)
    assert 2 not in story.displayed_at
    story.wait(0.02)
    assert story.displayed_at[2] - story.displayed_at[1] == pytest.approx(stays_s)


def test_one_that_comes_late_does_not_wait_for_the_cycle() -> None:
    """The dwell and the cycle it ended in are over: what comes then is shown when it arrives."""
    story = Story()
    story.cycles[1] = 4
    story.receive(1, dwell_s=10)
    story.wait(13)
    story.receive(2)
    assert story.displayed_at[2] == story.now


def test_immediate_does_not_wait_for_the_cycle() -> None:
    """Nor for the dwell."""
    story = Story()
    story.cycles[1] = 50
    story.receive(1)
    story.wait(20)
    story.receive(2)
    story.immediate()
    assert story.told()[-1] == "displaying 2"


def test_a_screen_that_says_nothing() -> None:
    """Does not stop the rotation; what it says later means nothing."""
    story = Story(latency_s=PATIENCE_S + 5)
    story.receive(1)
    story.receive(2)
    story.wait(PATIENCE_S + 0.1)
    assert story.told() == ["queued 1", "queued 2", "displaying 1"]
    story.wait(20)
    assert story.told() == ["displaying 2"]
    assert story.pacing.started(1, None, story.now) == []
    assert story.pacing.failed(2, story.now) == []


def test_the_screen_is_given_away() -> None:
    """What waited is gone; the next image is shown when it comes."""
    story = Story()
    story.receive(1)
    story.receive(2)
    story.pacing.clear()
    story.wait(60)
    story.told()
    story.receive(3)
    assert story.told() == ["queued 3", "displaying 3"]


def test_needed_files() -> None:
    """Those of the image that waits and of the one on its way."""
    story = Story(latency_s=1)
    story.receive(1)
    story.receive(2)
    assert (set(story.pacing.needed), story.pacing.slot) == ({1, 2}, 2)
    story.receive(3)
    assert (set(story.pacing.needed), story.pacing.slot) == ({1, 3}, 3)
    story.wait(2)
    assert story.pacing.needed == {3}


def test_when_to_ask_for_the_next() -> None:
    """At once at first, then a little before the end of the present one's time, and not while one waits."""
    story = Story(latency_s=0.05)
    assert story.pacing.pull_at(2, story.now) == story.now
    story.receive(1, dwell_s=10)
    assert story.pacing.pull_at(2, story.now) is None
    story.wait(0.05)
    assert story.pacing.pull_at(2, story.now) == pytest.approx(story.displayed_at[1] + 8)
    assert story.pacing.pull_at(9, story.now) == pytest.approx(story.displayed_at[1] + 5)
    story.receive(2)
    assert story.pacing.pull_at(2, story.now) is None


def test_no_drift() -> None:
    """Fifty images of 10 s on a screen that needs 50 ms: each comes when the one before has had its time."""
    story = Story(latency_s=0.05)
    story.receive(1)
    story.wait(0.06)
    for number in range(2, 51):
        story.receive(number)
        story.wait(10.05)
    assert story.displayed_at[50] - story.displayed_at[1] == pytest.approx(49 * 10.05)


@pytest.mark.parametrize("group", range(20))
def test_random_scripts(group: int) -> None:
    """2,000 of them: whatever comes in whatever order, the promises hold (see `_check`)."""
    for seed in range(group * 100, group * 100 + 100):
        try:
            _random_script(seed)
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken


def _random_script(seed: int) -> None:
    chance = random.Random(seed)
    story = Story(latency_s=chance.choice([0.0, 0.02, 0.5, 4.0, 20.0]))
    dwells: dict[int, float] = {}
    urgent: set[int] = set()
    unshowable: set[int] = set()
    number = 0
    for _ in range(chance.randrange(1, 60)):
        event = chance.random()
        if event < 0.45:
            number += 1
            dwells[number] = chance.choice([1.0, 1.0, 3.0, 10.0])
            if chance.random() < 0.2:
                story.broken.add(number)
            if chance.random() < 0.2:
                story.cycles[number] = chance.choice([0.1, 2.5, 8.0, 40.0])
            showable = chance.random() > 0.1
            if not showable:
                unshowable.add(number)
            story.receive(number, dwells[number], showable=showable)
        elif event < 0.6:
            urgent.add(number)
            story.immediate()
        else:
            story.wait(chance.choice([0.0, 0.01, 0.3, 1.0, 2.0, 12.0]))
        due = story.pacing.deadline()
        if story.pacing.slot is not None:
            assert due is not None, "a deadlock"
            assert due >= story.now - 1e-3
    story.wait(120)
    _check(story, number, dwells, urgent, unshowable)


def _check(story: Story, count: int, dwells: dict[int, float], urgent: set[int], unshowable: set[int]) -> None:
    """Each image queued once, in order; displayed at most once, in order, after it was queued; each for its time."""
    queued = [int(said.split()[1]) for said in story.said if said.startswith("queued")]
    displayed = [int(said.split()[1]) for said in story.said if said.startswith("displaying")]
    assert queued == list(range(1, count + 1))
    assert displayed == sorted(set(displayed))
    assert all(story.said.index(f"queued {number}") < story.said.index(f"displaying {number}") for number in displayed)
    assert displayed[-1:] == ([count] if count else []), "the newest image is the last one on"
    for before, after in itertools.pairwise(displayed):
        stayed_s = story.displayed_at[after] - story.displayed_at[before]
        failed = before in story.broken or before in unshowable
        if after not in urgent:
            early_s = EARLY_S if before in story.cycles and not failed else 0.0
            due_s = FAILED_S if failed and story.latency_s < PATIENCE_S else min(dwells[before], 1.0)
            assert stayed_s >= due_s - early_s - 1e-3
            if not failed:
                assert stayed_s >= dwells[before] - early_s - 1e-3
    for number in displayed:
        assert (number in story.shown) == (number not in unshowable)
