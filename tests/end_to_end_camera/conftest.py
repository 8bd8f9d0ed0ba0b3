"""What the tests of the whole camera share: one browser, and a studio whose worker stays warm."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.browser import Browser
from tests.end_to_end_camera.studio import FLAGS, Studio, open_studio


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all viewers that need not die."""
    async with Browser(*FLAGS) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(browser: Browser) -> AsyncIterator[Studio]:
    """The studio of the module."""
    async with open_studio(browser) as studio:
        yield studio


@pytest_asyncio.fixture(loop_scope="module")
async def studio(shared: Studio) -> AsyncIterator[Studio]:
    """The module's studio, empty again after the test."""
    yield shared
    await shared.clear()
