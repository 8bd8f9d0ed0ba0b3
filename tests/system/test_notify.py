"""What systemd hears."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.system.notify import Notifier
from tests.system.manager import Manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A manager that has started us."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    made = Manager(address)
    yield made
    made.socket.close()


def test_ready_reloading_stopping(manager: Manager) -> None:
    """Each state is told in the words of sd_notify(3); reloading carries the moment, as notify-reload wants it."""
    notifier = Notifier()
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    notifier.close()
    reloading, ready, stopping = manager.heard()
    first, second = reloading.splitlines()
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert (ready, stopping) == ("READY=1", "STOPPING=1")


def test_the_status_is_one_line_and_told_when_it_changes(manager: Manager) -> None:
    """Saying the same again costs nothing; a second line never becomes a command of its own."""
    notifier = Notifier()
    for text in ("front: playing", "front: playing", "front: down\nSTOPPING=1", ""):
        notifier.status(text)
    notifier.close()
    assert manager.heard() == ["STATUS=front: playing", "STATUS=front: down", "STATUS="]


def test_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that begins with @ lies in no directory."""
    manager = Manager(f"\0signage-agent-test-{os.getpid()}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@signage-agent-test-{os.getpid()}")
    notifier = Notifier()
    notifier.ready()
    notifier.close()
    assert manager.heard() == ["READY=1"]
    manager.socket.close()


async def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand every call does nothing and the watchdog's feeder ends at once."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    notifier = Notifier()
    notifier.ready()
    notifier.status("x")
    await asyncio.wait_for(notifier.feed_watchdog(), 5)
    notifier.close()


def test_a_manager_that_is_gone_is_no_fault(manager: Manager) -> None:
    """systemd may be re-executing itself: a message that cannot be delivered is dropped."""
    notifier = Notifier()
    manager.socket.close()
    notifier.ready()
    notifier.close()


def test_a_manager_that_does_not_listen_holds_nobody_up(manager: Manager) -> None:
    """When its queue is full further messages are dropped instead of stopping the event loop."""
    notifier = Notifier()
    began = time.monotonic()
    for number in range(2000):
        notifier.status(f"{number}")
    assert time.monotonic() - began < 10
    assert manager.heard()[0] == "STATUS=0"
    notifier.close()


async def test_the_watchdog_is_fed_in_time(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a deadline of 0.3 s it is fed at least three times in that time."""
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    notifier = Notifier()
    assert notifier.watchdog_s == 0.3
    feeding = asyncio.create_task(notifier.feed_watchdog())
    heard: list[str] = []
    async with asyncio.timeout(5):
        while len(heard) < 4:
            await asyncio.sleep(0.02)
            heard += manager.heard()
    feeding.cancel()
    assert set(heard) == {"WATCHDOG=1"}
    notifier.close()


async def test_an_event_loop_that_was_held_up_is_named(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever blocks the loop longer than the feeding allows leaves a line in the log."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    notifier = Notifier()
    feeding = asyncio.create_task(notifier.feed_watchdog())
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 - the fault under test
    async with asyncio.timeout(5):
        while "held up" not in caplog.text:
            await asyncio.sleep(0.01)
    feeding.cancel()
    assert caplog.records[0].levelno == logging.WARNING
    notifier.close()
