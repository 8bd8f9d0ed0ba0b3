"""agent.media.gate"""

from __future__ import annotations

import asyncio

from agent.media.gate import Gate, Ticket


async def test_urgent_first_then_in_order() -> None:
    """With one slot the lowest urgency value goes first, equals in the order they came."""
    gate = Gate(1)
    order: list[str] = []
    leave = asyncio.Event()

    async def download(name: str, urgency: int) -> None:
        async with gate.slot(Ticket(urgency)):
            order.append(name)
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        for name, urgency in (("first", 5), ("b", 2), ("c", 2), ("a", 1), ("d", 9)):
            tasks.create_task(download(name, urgency))
        await asyncio.sleep(0)
        leave.set()
    assert order == ["first", "a", "b", "c", "d"]


async def test_cancelled_waiter_gives_its_place_up() -> None:
    """A cancelled waiter neither takes a slot nor blocks the next one."""
    gate = Gate(1)
    entered = asyncio.Event()

    async def download() -> None:
        async with gate.slot(Ticket(0)):
            entered.set()

    async with gate.slot(Ticket(0)):
        waiting = asyncio.create_task(download())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert not entered.is_set()
    await asyncio.wait_for(download(), 1)


async def test_the_least_urgent_gives_way() -> None:
    """One running download per more urgent waiter is asked, the least urgent first, and only those that can go on later."""
    gate = Gate(3)
    running = [Ticket(1), Ticket(5), Ticket(9)]
    slots = [gate.slot(ticket) for ticket in running]
    for slot in slots:
        await slot.__aenter__()
    running[0].can_give_way = running[1].can_give_way = True
    urgent = gate.slot(Ticket(0))
    entering = asyncio.create_task(urgent.__aenter__())
    await asyncio.sleep(0)
    assert [ticket.give_way for ticket in running] == [False, True, False]
    gate.look()
    assert [ticket.give_way for ticket in running] == [False, True, False]
    await slots[1].__aexit__(None, None, None)
    await asyncio.wait_for(entering, 1)
    for slot in (slots[0], slots[2], urgent):
        await slot.__aexit__(None, None, None)


async def test_equal_urgency_does_not_push() -> None:
    """Equals wait for each other."""
    gate = Gate(1)
    ticket = Ticket(3)
    async with gate.slot(ticket):
        ticket.can_give_way = True
        waiting = asyncio.create_task(gate.slot(Ticket(3)).__aenter__())
        await asyncio.sleep(0)
        assert not ticket.give_way
    await asyncio.wait_for(waiting, 1)


async def test_more_slots() -> None:
    """A larger number of slots admits those who wait at once."""
    gate = Gate(1)
    async with gate.slot(Ticket(0)):
        waiting = asyncio.create_task(gate.slot(Ticket(0)).__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set_slots(2)
        await asyncio.wait_for(waiting, 1)


async def test_what_is_wanted_now_does_not_wait_for_slow_ones() -> None:
    """When no running download can give way, one more is admitted, and only one."""
    gate = Gate(2)
    for _ in range(2):
        await gate.slot(Ticket(10)).__aenter__()
    async with asyncio.timeout(5):
        await gate.slot(Ticket(0)).__aenter__()
    entering = asyncio.create_task(gate.slot(Ticket(0)).__aenter__())
    await asyncio.sleep(0)
    assert not entering.done()
    entering.cancel()
