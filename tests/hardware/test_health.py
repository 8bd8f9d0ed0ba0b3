"""What the hardware says about its own health, from fake trees."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.hardware.health import CLOCK_NOT_SET, UNDER_VOLTAGE, Health, read
from agent.system.state import State, StateError
from tests.hardware.fakes import until


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def boot(root: Path, boot_id: str) -> None:
    put(root / "proc/sys/kernel/random/boot_id", boot_id)


def alarm(sysfs: Path, value: int) -> None:
    put(sysfs / "class/hwmon/hwmon1/name", "rpi_volt")
    put(sysfs / "class/hwmon/hwmon1/in0_lcrit_alarm", str(value))


@contextlib.asynccontextmanager
async def running(health: Health) -> AsyncIterator[Health]:
    """Looks as in the daemon."""
    task = asyncio.create_task(health.run(), name="health")
    try:
        yield health
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


def watching(state: State, root: Path, *, clock_is_set: bool = True) -> Health:
    return Health(state, sysfs=root / "sys", root=root, look_s=0.02, clock_is_set=lambda: clock_is_set)


def test_the_default_of_the_look(tmp_path: Path) -> None:
    """Once a minute."""
    assert Health(State(tmp_path / "state.db"))._look_s == 60.0


async def test_under_voltage_is_latched_for_the_boot(tmp_path: Path, state: State, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel wipes its flag; the warning stays, over a restart of the agent too, and goes with the next boot."""
    caplog.set_level(logging.INFO)
    boot(tmp_path, "first")
    alarm(tmp_path / "sys", 0)
    async with running(watching(state, tmp_path)) as health:
        assert health.warnings() == []
        alarm(tmp_path / "sys", 1)
        await until(lambda: health.warnings() == [UNDER_VOLTAGE])
        alarm(tmp_path / "sys", 0)
        await asyncio.sleep(0.1)
        assert health.warnings() == [UNDER_VOLTAGE]
    async with running(watching(state, tmp_path)) as health:
        await until(lambda: health.warnings() == [UNDER_VOLTAGE])
    boot(tmp_path, "second")
    async with running(watching(state, tmp_path)) as health:
        await asyncio.sleep(0.1)
        assert health.warnings() == []
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2, "once per start"


def test_another_sensors_alarm_is_not_the_supply(tmp_path: Path) -> None:
    """Only the Pi's own supply monitor counts."""
    put(tmp_path / "class/hwmon/hwmon0/name", "adt7410")
    put(tmp_path / "class/hwmon/hwmon0/in0_lcrit_alarm", "1")
    assert not read(tmp_path).under_voltage


def test_file_system_errors(tmp_path: Path) -> None:
    """Errors that ext4 has recorded are named with their device."""
    put(tmp_path / "fs/ext4/mmcblk0p2/errors_count", "3")
    put(tmp_path / "fs/ext4/mmcblk0p1/errors_count", "0")
    (tmp_path / "fs/ext4/features").mkdir()
    [warning] = read(tmp_path).warnings
    assert "mmcblk0p2 has recorded 3 errors" in warning


@pytest.mark.parametrize(
    ("life_time", "pre_eol_info", "expected"),
    [
        ("0x01 0x02", "0x01", None),
        ("0x09 0x09", "0x01", None),
        ("0x0a 0x01", "0x01", "90 % of its life"),
        ("0x01 0x0b", "0x01", "all of its life"),
        ("0x00 0x00", "0x03", "reserve blocks: urgent"),
        ("", "", None),
    ],
)
def test_a_worn_emmc(tmp_path: Path, life_time: str, pre_eol_info: str, expected: str | None) -> None:
    """Told when nine tenths of its life or most of its reserve are used."""
    put(tmp_path / "class/mmc_host/mmc0/mmc0:0001/life_time", life_time)
    put(tmp_path / "class/mmc_host/mmc0/mmc0:0001/pre_eol_info", pre_eol_info)
    warnings = read(tmp_path).warnings
    if expected is None:
        assert warnings == ()
    else:
        assert expected in warnings[0]


async def test_a_clock_that_is_not_set(tmp_path: Path, state: State) -> None:
    """Said at once, without waiting for a look."""
    assert watching(state, tmp_path, clock_is_set=False).warnings() == [CLOCK_NOT_SET]
    assert watching(state, tmp_path).warnings() == []


async def test_changes_are_told(tmp_path: Path, state: State, caplog: pytest.LogCaptureFixture) -> None:
    """A warning when it begins, INFO when it is over, and the listeners both times."""
    caplog.set_level(logging.INFO)
    errors = tmp_path / "sys/fs/ext4/sda1/errors_count"
    calls: list[int] = []
    async with running(watching(state, tmp_path)) as health:
        health.on_change(lambda: calls.append(len(health.warnings())))
        put(errors, "1")
        await until(lambda: calls == [1])
        errors.unlink()
        await until(lambda: calls == [1, 0])
    assert [record.levelname for record in caplog.records if "health" in record.getMessage()] == ["WARNING", "INFO"]


async def test_a_full_disk_does_not_end_it(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be recorded is in force all the same, and looking goes on."""

    async def refuse(*_arguments: object, **_options: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(state, "put", refuse)
    boot(tmp_path, "boot-1")
    alarm(tmp_path / "sys", 1)
    async with running(watching(state, tmp_path)) as health:
        await until(lambda: UNDER_VOLTAGE in health.warnings())
        alarm(tmp_path / "sys", 0)
        put(tmp_path / "sys/fs/ext4/sda1/errors_count", "3")
        await until(lambda: len(health.warnings()) == 2)
        assert UNDER_VOLTAGE in health.warnings()
