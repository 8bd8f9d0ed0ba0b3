"""When a lost or refused connection is tried again."""

from __future__ import annotations

import collections
import heapq
import random

import pytest

from agent.links.backoff import LONGEST_S, STABLE_S, Backoff


class Bounds:
    """Remembers between what a wait was drawn, and draws the longest."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []

    def __call__(self, least: float, most: float) -> float:
        self.asked.append((least, most))
        return most


def test_the_first_is_spread_and_the_following_double() -> None:
    """Uniform over the spread, then full jitter below 1, 2, 4 ... 60 s, and never above."""
    bounds = Bounds()
    backoff = Backoff(5.0, bounds)
    for _ in range(10):
        backoff.wait_s()
    assert bounds.asked == [(0, most) for most in (5, 1, 2, 4, 8, 16, 32, 60, 60, 60)]


def test_refused_goes_to_the_slow_end_at_once() -> None:
    """A refusal is tried again after half a minute to a minute, and what fails afterwards stays slow."""
    bounds = Bounds()
    backoff = Backoff(5.0, bounds)
    backoff.wait_s(refused=True)
    backoff.wait_s(refused=True)
    backoff.wait_s()
    assert bounds.asked == [(30, 60), (30, 60), (0, 60)]


@pytest.mark.parametrize(("lived_s", "first_again"), [(0.0, False), (29.9, False), (30.0, True), (86400.0, True)])
def test_only_a_stable_connection_resets_it(lived_s: float, first_again: bool) -> None:
    """A server that accepts and closes is no success; 30 s of life are."""
    bounds = Bounds()
    backoff = Backoff(5.0, bounds)
    for _ in range(6):
        backoff.wait_s()
    assert backoff.lived(lived_s) is first_again
    backoff.wait_s()
    assert bounds.asked[-1] == ((0, 5) if first_again else (0, 32))


def test_no_spread_means_at_once() -> None:
    """A link alone on its server may come back immediately, once."""
    bounds = Bounds()
    backoff = Backoff(0.0, bounds)
    assert [backoff.wait_s() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("spread_s", "least"), [(5.0, 1), (20.0, 20), (60.0, 60), (300.0, 60)])
def test_a_fleet_stays_spread(spread_s: float, least: float) -> None:
    """A spread above the default is also the least bound of what follows, but none of it waits more than a minute."""
    bounds = Bounds()
    backoff = Backoff(spread_s, bounds)
    for _ in range(9):
        backoff.wait_s()
    assert bounds.asked == [(0, spread_s), *((0, max(least, most)) for most in (1, 2, 4, 8, 16, 32, 60, 60))]


def test_it_goes_on_for_years() -> None:
    """A million failures later the wait is still a minute at most."""
    backoff = Backoff(5.0)
    backoff._failures = 1_000_000
    assert all(0 <= backoff.wait_s() <= LONGEST_S for _ in range(1000))


@pytest.mark.parametrize("outage_s", [0.0, 1.0, 5.0, 30.0, 60.0, 300.0])
def test_a_fleet_comes_back_spread(outage_s: float) -> None:
    """10,000 agents with a spread of 60 s: no second sees more than 5 % of them, however long the server was away."""
    dice = random.Random(20240229)
    agents = 10_000
    attempts: collections.Counter[int] = collections.Counter()
    queue: list[tuple[float, int, Backoff]] = []
    for number in range(agents):
        backoff = Backoff(60.0, dice.uniform)
        backoff.lived(STABLE_S)
        queue.append((backoff.wait_s(), number, backoff))
    heapq.heapify(queue)
    while queue:
        now, number, backoff = heapq.heappop(queue)
        attempts[int(now)] += 1
        if now < outage_s:
            heapq.heappush(queue, (now + backoff.wait_s(), number, backoff))
    assert max(attempts.values()) <= 0.05 * agents
    assert max(attempts) <= outage_s + 60
