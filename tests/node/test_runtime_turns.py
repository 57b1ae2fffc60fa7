"""No event is handled while the effects of an earlier one are still being performed."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from consensus import effects as fx
from consensus import messages as wire
from consensus.core import Core, genesis_checkpoint, genesis_safety
from consensus.safety import SafetyState
from node.candidates import Candidates
from node.evidence_book import EvidenceBook
from node.running_epoch import RunningEpoch
from node.runtime import OwnObservation, Runtime, wall_clock_ms
from node.store import Store


class SlowStore(Store):
    """A store whose disk takes its time: each write waits until the test lets it through."""

    asked: threading.Event
    gate: threading.Semaphore

    def save_safety(self, safety: SafetyState) -> None:
        self.asked.set()
        assert self.gate.acquire(timeout=30)
        super().save_safety(safety)


class Silence:
    """A network on which nothing comes, and events that nobody reads."""

    def __init__(self) -> None:
        self.sent: list[wire.Message] = []

    def send(self, member: int, frame: bytes) -> bool:
        message = wire.decode(frame)
        if isinstance(message, wire.BlockRequest):
            self.sent.append(message)
        return True

    async def receive_from(self, _member: int) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments: None


class Gated:
    """A runtime on a slow disk."""

    def __init__(self, committee: Any, directory: Path) -> None:
        context = committee.context
        self.me = me = context.leader(0)
        self.store = SlowStore.create(directory / "store")
        self.store.asked, self.store.gate = threading.Event(), threading.Semaphore(0)
        self.wires = Silence()
        root = genesis_checkpoint(context, committee.genesis)
        self.core = Core(context, me, committee.rule, genesis_safety(context), root)
        epoch = RunningEpoch("test", context, committee.table, (), committee.genesis)
        signer = committee.signer(me)
        self.runtime = Runtime(
            epoch,
            me,
            self.core,
            signer=signer,
            store=self.store,
            journal=None,
            network=self.wires,
            observe=lambda now_ms: OwnObservation(committee.body(now_ms), None),
            candidates=Candidates(epoch, me, self.store, signer.approval),
            evidence=EvidenceBook(
                self.store, lambda: [epoch], self.wires.tell, self.wires.convicted
            ),
            events=self.wires,  # type: ignore[arg-type]
        )

    async def is_writing(self) -> None:
        assert await trio.to_thread.run_sync(self.store.asked.wait, 30)
        self.store.asked.clear()


@pytest.fixture
def gated(keyed: Any, tmp_path: Path) -> Gated:
    return Gated(keyed.Committee(4, genesis_ms=wall_clock_ms() - 1000), tmp_path)


async def test_s4_check_and_set_and_what_follows_are_one_turn(gated: Gated) -> None:
    """Each event reads what the one before it set, and sees it durable and said."""
    turns: list[str] = []
    safety = gated.core.safety
    other = (gated.me + 1) % 4
    effects = [fx.Persist(safety), fx.SendRequest(wire.BlockRequest(bytes(32), 0), (other,))]

    def event(name: str, *follows: fx.Effect) -> Callable[[], list[fx.Effect]]:
        def happens() -> list[fx.Effect]:
            turns.append(f"{name} after {len(gated.wires.sent)} were said")
            return list(follows)

        return happens

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(gated.runtime.run, [])
            nursery.start_soon(gated.runtime._step, event("first", *effects))
            await gated.is_writing()
            nursery.start_soon(gated.runtime._step, event("second", *effects))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(gated.runtime._step, event("third"))
            await trio.testing.wait_all_tasks_blocked()
            assert turns == ["first after 0 were said"]
            gated.store.gate.release()
            await gated.is_writing()
            await trio.testing.wait_all_tasks_blocked()
            assert turns[1:] == ["second after 1 were said"]
            gated.store.gate.release()
            with trio.fail_after(30):
                while len(turns) < 3:  # noqa: ASYNC110 - a turn has no event of its own
                    await trio.sleep(0.002)
            assert turns[2:] == ["third after 2 were said"]
            nursery.cancel_scope.cancel()
    finally:
        gated.store.gate.release(100)  # Whoever still writes must not wait.
        gated.store.close()
