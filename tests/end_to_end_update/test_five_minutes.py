"""A box is back on the version from before within five minutes, by the numbers of the unit files and the guard."""

from __future__ import annotations

import inspect

from agent.update import guard
from agent.update.slots import Record
from tests.systemd_stand_in import UNITS
from tests.systemd_units import read

BACK_S = 300.0
START_S = 20.0
"""For the version from before to show its picture, on a small board."""

AGENT = read(UNITS / "signage-agent.service")
TIMER = read(UNITS / "signage-agent-guard.timer")


def test_longest_way_back() -> None:
    """The longest probation, a timer and commands of the guard as slow as they may be, and no heed to SIGTERM."""
    lock_s: float = inspect.signature(Record.held).parameters["wait_s"].default
    cause_s, order_s = 2 * guard._COMMAND_S, 2 * guard._COMMAND_S
    ways = {
        "probation": guard.PROBATION_S[1],
        "timer": TIMER.seconds("Timer", "OnUnitActiveSec", 0.0) + TIMER.seconds("Timer", "AccuracySec", 60.0),
        "record": lock_s,
        "cause": cause_s,
        "order": order_s,
        "stop": AGENT.seconds("Service", "TimeoutStopSec", 90.0),
        "record before the start": lock_s,
        "restart": AGENT.seconds("Service", "RestartSec", 0.1),
        "start": START_S,
    }
    assert sum(ways.values()) <= BACK_S, ways


def test_nothing_ends_the_probation_later() -> None:
    """The timer's first look is no later than the others, and runs as long as there is a candidate; the guard has its own end."""
    assert TIMER.seconds("Timer", "OnActiveSec", 60.0) <= TIMER.seconds("Timer", "OnUnitActiveSec", 0.0)
    assert read(UNITS / "signage-agent-guard.service").seconds("Service", "TimeoutStartSec", 90.0) >= guard._LONGEST_S
    assert AGENT.seconds("Service", "TimeoutStartSec", 90.0) >= guard._LONGEST_S
    assert AGENT.get("Service", "Restart") == "always"
    assert AGENT.get("Unit", "StartLimitIntervalSec") == "0"


def test_guard_comes_before_each_start() -> None:
    """It is the first thing before a start, as root, and its failure does not keep the agent from starting."""
    line = AGENT.all("Service", "ExecStartPre")[0]
    assert line.startswith("-+")
    assert "/opt/signage-agent/guard before-start" in line
    assert "releases" not in line
    assert "current" not in line
