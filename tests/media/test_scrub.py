"""agent.media.scrub"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.media.scrub import Scrubber
from tests.media.conftest import QUICK
from tests.media.origin import md5, random_bytes

BODY = random_bytes(3 << 20)


async def test_rate_limit(tmp_path: Path) -> None:
    """A file is read no faster than allowed, and hardly any CPU is used meanwhile."""
    path = tmp_path / "file"
    path.write_bytes(BODY)
    with ThreadPoolExecutor(1) as pool:
        scrubber = Scrubber(dataclasses.replace(QUICK, verify_bytes_s=10.0 * len(BODY)), pool)
        began, cpu = time.monotonic(), time.process_time()
        assert await scrubber.is_good(path, f"md5:{md5(BODY)}")
        assert time.monotonic() - began >= 0.099
        assert time.process_time() - cpu < 0.09


async def test_damage_and_loss(tmp_path: Path) -> None:
    """Another content and no file at all are both no good; what cannot be told is raised."""
    path = tmp_path / "file"
    path.write_bytes(BODY)
    with ThreadPoolExecutor(1) as pool:
        scrubber = Scrubber(QUICK, pool)
        assert not await scrubber.is_good(path, f"md5:{md5(BODY[1:])}")
        assert not await scrubber.is_good(tmp_path / "nothing", f"md5:{md5(BODY)}")
        path.unlink()
        path.symlink_to(path)
        with pytest.raises(OSError, match="symbolic links"):
            await scrubber.is_good(path, f"md5:{md5(BODY)}")


async def test_cancellation(tmp_path: Path) -> None:
    """Verification ends when the daemon does."""
    path = tmp_path / "file"
    path.write_bytes(BODY)
    with ThreadPoolExecutor(1) as pool:
        task = asyncio.create_task(Scrubber(dataclasses.replace(QUICK, verify_bytes_s=1.0), pool).is_good(path, "md5:x"))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)
