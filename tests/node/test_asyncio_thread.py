import asyncio
import threading

import pytest
import trio
import trio.testing

from node.asyncio_thread import AsyncioCancelled, AsyncioThread


def raises(kind: type[BaseException], text: str | None = None) -> pytest.RaisesGroup:
    return pytest.RaisesGroup(pytest.RaisesExc(kind, match=text), flatten_subgroups=True)


async def test_run_returns_from_one_other_thread() -> None:
    async def double(value: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return 2 * value, threading.get_ident()

    async with AsyncioThread() as thread:
        first, ident = await thread.run(double, 4)
        second, same = await thread.run(double, 5)
    assert (first, second) == (8, 10)
    assert ident == same != threading.get_ident()


async def test_run_raises_what_the_coroutine_raises() -> None:
    async def fail() -> None:
        raise ValueError("bad price")

    async with AsyncioThread() as thread:
        with pytest.raises(ValueError, match="bad price"):
            await thread.run(fail)


async def test_run_tells_a_cancellation_within_asyncio() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    async with AsyncioThread() as thread:
        with pytest.raises(AsyncioCancelled):
            await thread.run(cancelled)


async def test_cancelling_a_run_waits_for_the_end_of_its_task() -> None:
    steps: list[str] = []
    begun = trio.Event()

    async with AsyncioThread() as thread:

        async def work() -> None:
            thread.post(begun.set)
            try:
                await asyncio.Event().wait()
            finally:
                steps.append("cleaning")
                await asyncio.sleep(0.01)
                steps.append("clean")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(thread.run, work)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert steps == ["cleaning", "clean"]


async def test_a_run_cancelled_before_it_began_leaves_nothing_behind() -> None:
    async with AsyncioThread() as thread:
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.run(asyncio.sleep, 3600)
        assert scope.cancelled_caught
        assert len(await thread.run(_tasks)) == 1


async def _tasks() -> "set[asyncio.Task[object]]":
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_a_background_task_that_fails_ends_the_block() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("venue gone")

    with raises(OSError, "venue gone"):
        async with AsyncioThread() as thread:
            thread.start(fail)
            await trio.sleep_forever()


async def test_the_end_of_the_block_ends_background_tasks_and_the_thread() -> None:
    ended: list[str] = []
    begun = trio.Event()
    async with AsyncioThread() as thread:

        async def serve() -> None:
            thread.post(begun.set)
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("served")

        thread.start(serve)
        await begun.wait()
    assert ended == ["served"]
    with pytest.raises(RuntimeError, match="does not run"):
        await thread.run(asyncio.sleep, 0)


async def test_the_death_of_the_thread_ends_the_block() -> None:
    async def die() -> None:
        raise SystemExit(3)

    async def block() -> None:
        async with AsyncioThread() as thread:
            thread.start(die)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as failure:  # the task fails, the thread too, or both
        await block()
    assert failure.group_contains(RuntimeError, match="has died")


async def test_a_posted_call_runs_in_trio_and_its_failure_ends_the_block() -> None:
    seen: list[int] = []
    got = trio.Event()

    def take(value: int) -> None:
        seen.append(threading.get_ident())
        got.set()
        raise LookupError(f"no feed {value}")

    async def feed(thread: AsyncioThread) -> None:
        thread.post(take, 7)

    with raises(LookupError, "no feed 7"):
        async with AsyncioThread() as thread:
            await thread.run(feed, thread)
            await got.wait()
            await trio.sleep_forever()
    assert seen == [threading.get_ident()]


def test_posts_after_the_end_of_trio_are_forgotten() -> None:
    threads: list[AsyncioThread] = []

    async def main() -> None:
        async with AsyncioThread() as thread:
            threads.append(thread)

    trio.run(main)
    threads[0].post(print, "never")


async def test_a_call_is_made_in_the_asyncio_thread() -> None:
    async with AsyncioThread() as thread:
        made = trio.Event()
        seen: list[int] = []

        def note(number: int) -> None:
            seen.extend((number, threading.get_ident()))
            thread.post(made.set)

        thread.call(note, 7)
        await made.wait()
        assert seen[0] == 7
        assert seen[1] != threading.get_ident()


def test_calls_after_the_end_are_forgotten() -> None:
    threads: list[AsyncioThread] = []

    async def main() -> None:
        async with AsyncioThread() as thread:
            threads.append(thread)

    trio.run(main)
    threads[0].call(print, "never")


async def test_the_body_fails_before_anything_is_left_behind() -> None:
    with raises(ZeroDivisionError):
        async with AsyncioThread() as thread:
            thread.start(asyncio.sleep, 3600)
            raise ZeroDivisionError
