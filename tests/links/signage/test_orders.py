"""When the playlists are fetched, and what for."""

from __future__ import annotations

import asyncio

import pytest

from agent.links.signage.orders import Order, Orders


class Work:
    """Whether something is missing."""

    incomplete = False

    def __call__(self) -> bool:
        return self.incomplete


async def soon(orders: Orders, within_s: float = 5.0) -> Order:
    async with asyncio.timeout(within_s):
        return await orders.next()


async def not_soon(orders: Orders) -> None:
    with pytest.raises(TimeoutError):
        await soon(orders, 0.05)


def test_merged() -> None:
    """The newer switch wins; what is to be reported again is."""
    assert Order(again=True).merged(Order(switch_to=5)) == Order(again=True, switch_to=5)
    assert Order(switch_to=5).merged(Order(again=True)) == Order(again=True, switch_to=5)
    assert Order(switch_to=5).merged(Order(switch_to=6)) == Order(switch_to=6)


async def test_several_orders_are_one_fetch() -> None:
    """What was asked for before it began is carried out together; later ones make one more."""
    orders = Orders(600, 600, Work())
    orders._begun_at = asyncio.get_running_loop().time()
    orders.add(Order(again=True))
    orders.add(Order(switch_to=7))
    assert await soon(orders) == Order(again=True, switch_to=7)
    await not_soon(orders)
    orders.add(Order())
    orders.add(Order())
    assert await soon(orders) == Order()
    await not_soon(orders)


async def test_regular_fetches() -> None:
    """They come by themselves."""
    orders = Orders(0.05, 600, Work())
    for _ in range(3):
        assert await soon(orders) == Order()


async def test_retries_come_earlier_and_ever_later() -> None:
    """While something is missing, each about twice as late, never later than the regular one."""
    work = Work()
    orders = Orders(0.2, 0.02, work)
    loop = asyncio.get_running_loop()
    await soon(orders)
    work.incomplete = True
    gaps = []
    for _ in range(6):
        before = loop.time()
        await soon(orders)
        gaps.append(loop.time() - before)
    assert gaps[0] < 0.15
    assert 0.15 < gaps[-1] < 2
    work.incomplete = False
    await soon(orders)
    work.incomplete = True
    before = loop.time()
    await soon(orders)
    assert loop.time() - before < 0.15


async def test_something_has_become_incomplete_meanwhile() -> None:
    """The wait is reconsidered."""
    work = Work()
    orders = Orders(600, 0.05, work)
    orders._begun_at = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(soon(orders))
    await asyncio.sleep(0.02)
    work.incomplete = True
    orders.look_again()
    assert await waiting == Order()


async def test_a_failed_fetch_is_due_again() -> None:
    """After its wait, or at once when somebody asks; nothing of the order is lost."""
    orders = Orders(600, 600, Work())
    orders._begun_at = asyncio.get_running_loop().time()
    await orders.again_after(Order(again=True, switch_to=5), 0.01)
    assert await soon(orders) == Order(again=True, switch_to=5)
    waiting = asyncio.create_task(orders.again_after(Order(again=True, switch_to=5), 600))
    await asyncio.sleep(0.01)
    orders.look_again()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    orders.add(Order(switch_to=6))
    await asyncio.wait_for(waiting, 5)
    assert await soon(orders) == Order(again=True, switch_to=6)
