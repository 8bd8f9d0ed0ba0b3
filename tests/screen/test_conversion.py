"""What is made of the answers of the process that decodes pictures; the process itself is in test_pictures.py."""

from __future__ import annotations

import asyncio
import os

import pytest

from agent.screen.conversion import Conversion, ConverterProcess


async def answered(*parts: bytes) -> tuple[object, object]:
    """The first and the last answer, if this comes, and then the end."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    conversion = Conversion(1, reading)
    for part in parts:
        os.write(writing, part)
        await asyncio.sleep(0)
    os.close(writing)
    async with asyncio.timeout(5):
        return await conversion.first, await conversion.over


@pytest.mark.parametrize(
    ("parts", "first", "last"),
    [
        ((), None, None),
        ((b'{"frames": 1}\n',), {"frames": 1}, {"frames": 1}),
        ((b'{"fra', b'mes": 1}', b"\n"), {"frames": 1}, {"frames": 1}),
        ((b'{"more": true}\n{"frames"', b": 2}\n"), {"more": True}, {"frames": 2}),
        ((b'{"more": true}\n',), {"more": True}, None),
        ((b'{"frames": 1}',), None, None),
        ((b"nonsense\n",), None, None),
        ((b"[]\n",), None, None),
        ((b"\xff\xfe\n",), None, None),
        ((b"x" * 60000,), None, None),
    ],
)
async def test_answers(parts: tuple[bytes, ...], first: object, last: object) -> None:
    """Whole lines count, in whatever pieces they come; anything else is no answer."""
    assert await answered(*parts) == (first, last)


async def test_a_process_that_is_not_asked_is_not_started() -> None:
    """And its end is no fault."""
    process = ConverterProcess()
    process.close()
    assert process.pid is None
