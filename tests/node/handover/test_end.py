"""A runtime that learns how its epoch ended signs nothing more in it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing

from aggregation.observation import Entry, ObservationBody
from consensus import effects as fx
from consensus import messages as wire
from consensus.core import Core, genesis_checkpoint, genesis_safety
from consensus.safety import SafetyState
from feeds.catalogue import load_catalogue
from node import epoch_file
from node.candidates import (
    Candidates,
)
from node.evidence_book import EvidenceBook
from node.runtime import OwnObservation, Runtime
from node.signer import Signer
from node.store import Store

TABLE = load_catalogue(None)


class SlowDisk(Store):
    """A store that lets nothing be made durable until it is told to, and says when it is over."""

    gate: threading.Event
    ended: threading.Event

    def save_safety(self, safety: SafetyState) -> None:
        assert self.gate.wait(30)
        super().save_safety(safety)

    def save_successor(self, domain: bytes, successor: bytes) -> None:
        self.ended.set()
        super().save_successor(domain, successor)


class Wires:
    """A network on which one member says how the epoch ended, and events that nobody reads."""

    def __init__(self, store: SlowDisk, successor: wire.Successor) -> None:
        self._store, self._successor = store, successor
        self.may_come = trio.Event()
        self.votes_after_the_end: list[bool] = []

    def send(self, _member: int, frame: bytes) -> bool:
        if isinstance(wire.decode(frame), wire.Vote):
            self.votes_after_the_end.append(self._store.ended.is_set())
        return True

    async def receive_from(self, member: int) -> bytes:
        if member == 1 and not self.may_come.is_set():
            await self.may_come.wait()
            return wire.encode(self._successor)
        await trio.sleep_forever()
        raise AssertionError

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments: None


async def test_nothing_is_signed_once_it_is_stored_that_the_epoch_is_over(
    world: Any, tmp_path: Path
) -> None:
    """A vote waits for the disk when a member says how the epoch ended: it goes first, or never."""
    context = world.epoch.context
    successor = world.successor(epoch_file.to_document(world.next_file()))
    store = SlowDisk.create(tmp_path / "store")
    store.gate, store.ended = threading.Event(), threading.Event()
    wires = Wires(store, successor)
    safety = genesis_safety(context)
    root = genesis_checkpoint(context, world.epoch.genesis)
    signer = Signer(context.domain, world.bls(0), world.keys[0].identity)
    entries = tuple(Entry(0, 0, 0) for _ in TABLE.feeds)
    runtime = Runtime(
        world.epoch,
        0,
        Core(context, 0, world.epoch.rule, safety, root),
        signer=signer,
        store=store,
        journal=None,
        network=wires,
        observe=lambda now_ms: OwnObservation(ObservationBody(now_ms, entries), None),
        candidates=Candidates(world.epoch, 0, store, signer.approval),
        evidence=EvidenceBook(store, lambda: [world.epoch], wires.tell, wires.convicted),
        events=wires,  # type: ignore[arg-type]
    )
    header = successor.block.header
    effects = [fx.Persist(safety), fx.SendVote(header, header.id(context.domain), (2,))]
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(runtime.run, [])
                nursery.start_soon(runtime._step, lambda: effects)
                await trio.testing.wait_all_tasks_blocked()
                wires.may_come.set()
                await trio.to_thread.run_sync(store.ended.wait, 0.5)
                store.gate.set()
                assert await trio.to_thread.run_sync(store.ended.wait, 20)
        assert wires.votes_after_the_end == [False]
    finally:
        store.gate.set()
        store.close()
