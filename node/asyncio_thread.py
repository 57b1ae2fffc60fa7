"""One thread with an asyncio loop, for the libraries that need one, beside trio.

aiohttp and web3 live in this thread, everything else in trio. Calls go in by `run`, `start` and
`call`; what comes out by itself goes through `post`. A hop costs about 0.3 ms.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import structlog
import trio

from node.patient_selector import PatientSelector

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 5.0
"""How long a cancelled asyncio task, or the whole thread, may take to end."""

_log = structlog.get_logger("didyma.asyncio")


class AsyncioCancelled(Exception):
    """The asyncio task was cancelled from within asyncio, not by its caller in trio."""


class AsyncioThread:
    """Runs coroutines of asyncio in a thread of their own, on behalf of trio.

    `async with AsyncioThread() as thread:` in trio. At the end of the block every task is
    cancelled, in order: what `start` began, then the rest. As in any nursery, exceptions leave the
    block in an ExceptionGroup.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._started = trio.Event()
        self._ended = trio.Event()
        self._selector = PatientSelector()
        self._thread = threading.Thread(target=self._main, name="asyncio", daemon=True)
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._lifetime: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        self._lifetime = self._live()
        await self._lifetime.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._lifetime is not None
        return await self._lifetime.__aexit__(kind, error, traceback)

    async def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function in the asyncio thread and return what it returns.

        Its exceptions are raised here. Cancelling this call cancels the asyncio task and waits
        until it has ended, but no longer than five seconds.
        """
        loop = self._running_loop()
        done = trio.Event()
        task: asyncio.Task[T] | None = None

        def begin() -> None:
            nonlocal task
            task = loop.create_task(function(*args))
            task.add_done_callback(lambda _: self.post(done.set))

        def cancel() -> None:
            assert task is not None, "the loop runs what it is given in order"
            task.cancel()

        loop.call_soon_threadsafe(begin)
        try:
            await done.wait()
        except trio.Cancelled:
            with suppress(RuntimeError):  # the loop is closed: its tasks are over
                loop.call_soon_threadsafe(cancel)
                with trio.move_on_after(_PATIENCE_SECONDS) as patience:
                    patience.shield = True
                    await done.wait()
                if patience.cancelled_caught:
                    _log.error("asyncio task ignores its cancellation", task=str(function))
            raise
        assert task is not None
        if task.cancelled():
            raise AsyncioCancelled(f"{function} was cancelled within asyncio")
        error = task.exception()
        if error is not None and not isinstance(error, Exception):
            raise RuntimeError("the asyncio thread has died") from error
        return task.result()

    def start(self, function: Callable[..., Coroutine[Any, Any, object]], *args: Any) -> None:
        """Run a coroutine function in the background; if it fails, so does the whole block."""
        assert self._nursery is not None, "enter the AsyncioThread first"
        self._nursery.start_soon(self._run_in_background, function, args)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in trio soon; from any thread, and without waiting.

        If it raises, the block fails. After the end of trio nothing happens.
        """
        assert self._token is not None, "enter the AsyncioThread first"
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._call, function, args)

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in the asyncio thread soon, without waiting; after its end, never."""
        with suppress(RuntimeError):
            self._running_loop().call_soon_threadsafe(function, *args)

    def let_wait(self, patient: socket.socket) -> None:
        """Handle what comes on a socket a little later but together; in the asyncio thread."""
        self._selector.mark(patient)

    def expect(self, seconds: float) -> None:
        """Say in how many seconds what waits on sockets will be wanted; from any thread."""
        self._selector.expect(seconds)

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        self._token = trio.lowlevel.current_trio_token()
        self._thread.start()
        try:
            with trio.CancelScope(shield=True):
                await self._started.wait()
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._watch)
                yield
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            await self._shut_down()

    async def _shut_down(self) -> None:
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stop.set)
        with trio.move_on_after(_PATIENCE_SECONDS) as patience:
            patience.shield = True
            await self._ended.wait()
        if patience.cancelled_caught:
            _log.error("asyncio thread does not end; it is left behind")

    async def _watch(self) -> None:
        await self._ended.wait()
        raise RuntimeError("the asyncio thread has died") from self._failure

    async def _run_in_background(
        self, function: Callable[..., Coroutine[Any, Any, object]], args: tuple[Any, ...]
    ) -> None:
        await self.run(function, *args)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop.is_closed():
            raise RuntimeError("the asyncio thread does not run")
        return self._loop

    def _call(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call a function between trio's tasks, where an exception would end trio itself."""
        try:
            function(*args)
        except Exception as error:
            if self._nursery is not None:
                self._nursery.start_soon(_raise, error)
            else:
                _log.error("posted call failed after the end", exc_info=error)

    def _main(self) -> None:
        try:
            with asyncio.Runner(
                loop_factory=lambda: asyncio.SelectorEventLoop(self._selector)
            ) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self.post(self._started.set)
            self.post(self._ended.set)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.post(self._started.set)
        await self._stop.wait()


async def _raise(error: Exception) -> None:
    raise error
