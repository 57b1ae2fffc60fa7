"""An alarm does the newest thing it was set to, once, when that is due."""

import trio
import trio.testing

from node.alarm import Alarm


async def test_the_newest_thing_is_done_when_it_is_due(
    autojump_clock: trio.testing.MockClock,
) -> None:
    alarm = Alarm[str]()
    done: list[tuple[str, float]] = []
    begun = trio.current_time()

    async def do(what: str) -> None:
        done.append((what, round(trio.current_time() - begun, 3)))
        if what == "chained":
            alarm.set("at once", 0)

    async with trio.open_nursery() as nursery:
        alarm.set("before it runs", 1)
        nursery.start_soon(alarm.run, do)
        await trio.sleep(2)
        alarm.set("replaced", 1)
        alarm.set("later", 5)
        await trio.sleep(3)
        assert done == [("before it runs", 1)]
        await trio.sleep(3)
        alarm.set("never", 50)
        alarm.set("sooner", 1)
        await trio.sleep(2)
        alarm.set("chained", 0)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert done == [
        ("before it runs", 1),
        ("later", 7),
        ("sooner", 9),
        ("chained", 10),
        ("at once", 10),
    ]
