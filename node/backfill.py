"""Reports that were certified while the member was away, for the archive.

A member that went on from a checkpoint lacks what lies between. In the background, and slowly, it
asks one member after the other for the blocks of the gap, newest first; each is believed because
of the hash chain that leads to it from the checkpoint. Once the chain meets what was final before,
the answers are computed upwards from the state there, as if the member had never been away. What
nobody has any more stays a gap, and the API says so.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
import trio

from consensus import messages as wire
from consensus.errors import InvalidMessage
from consensus.fetch import check_chain
from consensus.messages import QC, Block
from consensus.payload import State
from node.epoch_state import agreed_in, decode_state, encode_state
from node.running_epoch import RunningEpoch
from node.store import Gap, Store

PAUSE_SECONDS = 0.25
"""Between two requests, and between two steps of computing: the present comes first."""

REPLAYED_PER_STEP = 16

ANSWER_SECONDS = 3.0
ROUNDS_MAX = 2
"""So often is every member asked for a block before a gap is given up until the next start."""

_log = structlog.get_logger("node.backfill")


class Recovered(Protocol):
    """What is done with what comes back."""

    def recovered(self, block_id: bytes, block: Block, qc: QC, state: State) -> None:
        """Note a final block of a gap, with its certificate and the state after it."""
        ...

    def gaps_changed(self) -> None:
        """Note that a gap is filled."""
        ...


class Backfill:
    """Fills the gaps of one epoch, one at a time; the newest first."""

    def __init__(
        self,
        epoch: RunningEpoch,
        me: int,
        store: Store,
        events: Recovered,
        send: Callable[[wire.BlockRequest, Sequence[int]], None],
    ) -> None:
        self._epoch = epoch
        self._context = epoch.context
        self._store = store
        self._events = events
        self._send = send
        self._others = [member for member in range(epoch.context.n) if member != me]
        self._turn = 0
        self._asked: tuple[int, QC] | None = None
        self._answer: tuple[Block, ...] = ()
        self._came = trio.Event()
        self._work = trio.Event()
        self._given_up: set[int] = set()
        """The upper ends of gaps that nobody could fill in this life."""

    def wake(self) -> None:
        """Look for gaps once more."""
        self._work.set()

    def awaits(self, member: int, response: wire.BlockResponse) -> bool:
        """Tell whether a response was asked for, so that others need not even be verified."""
        if self._asked is None:
            return False
        asked, qc = self._asked
        return asked == member and response.block_id == self._context.id_of(qc)

    def take(self, member: int, response: wire.BlockResponse) -> None:
        """Take a response whose signatures were checked; raise `InvalidMessage`."""
        if self._asked is None or not self.awaits(member, response):
            return
        check_chain(self._context, self._epoch.rule, self._asked[1], response.blocks)
        self._asked = None
        self._answer = response.blocks
        self._came.set()

    async def run(self) -> None:
        """Fill gaps as they come, until cancelled."""
        while True:
            self._work = trio.Event()
            await self._tidy()
            gaps = [gap for gap in self._gaps() if gap.view not in self._given_up]
            if not gaps or not self._others:
                await self._work.wait()
                continue
            gap = gaps[-1]
            await trio.sleep(PAUSE_SECONDS)
            if not self._is_open(gap):
                continue
            if await self._fill(gap):
                _log.info("backfill.done", **_named(gap))
            elif self._is_open(gap):
                self._given_up.add(gap.view)
                _log.warning(
                    "backfill.gave_up",
                    advice="no member has these blocks any more; the API says what is missing",
                    **_named(gap),
                )

    async def _tidy(self) -> None:
        """Drop blocks of gaps that are filled, given up, or parts of wider ones by now."""
        given_up = [gap for gap in self._gaps() if gap.view in self._given_up]
        while self._store.prune_skipped(self._context.domain, given_up):  # noqa: ASYNC110
            await trio.sleep(PAUSE_SECONDS)

    def _gaps(self) -> list[Gap]:
        return self._store.gaps(self._context.domain)

    def _is_open(self, gap: Gap) -> bool:
        # Another checkpoint may have made it a part of a wider one.
        return any(one.view == gap.view for one in self._gaps())

    async def _fill(self, gap: Gap) -> bool:
        domain = self._context.domain
        tops = self._store.blocks_of_view(domain, gap.view, final_only=True)
        if not tops or gap.height - gap.above_height > self._store.blocks_max:
            return False
        above_id, above_state = self._store.below_gap(domain, gap)
        lowest = (self._store.skipped(domain, gap, count_max=1) or tops)[0]
        while self._context.id_of(lowest.justify) != above_id:
            if lowest.justify.view <= gap.above_view:
                return False
            blocks = await self._fetch(lowest.justify, gap.above_view)
            if not blocks or not self._is_open(gap):
                return False
            self._store.save_skipped(domain, gap, blocks)
            lowest = blocks[-1]
            await trio.sleep(PAUSE_SECONDS)
        return await self._replay(gap, decode_state(above_state), tops[0])

    async def _fetch(self, qc: QC, known_view: int) -> tuple[Block, ...]:
        """Ask one member after the other for a block and what is below it."""
        request = wire.BlockRequest(self._context.id_of(qc), known_view)
        for _ in range(ROUNDS_MAX * len(self._others)):
            member = self._others[self._turn % len(self._others)]
            self._turn += 1  # Whatever the answer: none may be the one that is always asked.
            self._asked, self._answer, self._came = (member, qc), (), trio.Event()
            self._send(request, (member,))
            with trio.move_on_after(ANSWER_SECONDS):
                await self._came.wait()
            self._asked = None
            if self._answer:
                return self._answer
            await trio.sleep(PAUSE_SECONDS)
        return ()

    async def _replay(self, gap: Gap, state: State, top: Block) -> bool:
        """Compute the answers upwards; each block's certificate stands in the block above it."""
        domain = self._context.domain
        while self._is_open(gap):
            blocks = self._store.skipped(domain, gap, count_max=REPLAYED_PER_STEP + 1)
            blocks = blocks if len(blocks) > REPLAYED_PER_STEP else [*blocks, top]
            try:
                states = await trio.to_thread.run_sync(self._states, state, blocks)
            except InvalidMessage as error:
                _log.error("backfill.wrong", problem=str(error))
                return False
            if not self._is_open(gap):
                return False
            for block, after, above in zip(blocks, states, blocks[1:], strict=False):
                self._recover(block, after, above.justify)
            is_last = blocks[-1] is top
            if is_last:
                for child in self._store.blocks_of_view(domain, top.view + 1):
                    self._recover(top, states[-1], child.justify)
            # The archive's thread keeps them meanwhile; then they are not asked for again.
            await trio.sleep(PAUSE_SECONDS)
            if not self._is_open(gap):
                return False
            if is_last:
                self._store.close_gap(domain, gap)
                self._events.gaps_changed()
                return True
            # The last one needs the certificate in the block above it: it is computed again.
            known, state = blocks[-2], states[-2]
            known_id = known.header.id(self._context.domain)
            gap = self._store.narrow_gap(domain, gap, known, known_id, encode_state(state))
            self._events.gaps_changed()
        return False

    def _states(self, state: State, blocks: Sequence[Block]) -> list[State]:
        states: list[State] = []
        for block in blocks:
            time_ms = agreed_in(state).observed_at_ms
            outcome = self._epoch.rule.apply(state, time_ms, block.view, block.payload)
            if outcome.state_digest != block.state_digest:
                raise InvalidMessage("a final block with another state than follows")
            state = outcome.state
            states.append(state)
        return states

    def _recover(self, block: Block, state: State, qc: QC) -> None:
        block_id = block.header.id(self._context.domain)
        if block_id == self._context.id_of(qc):
            self._events.recovered(block_id, block, qc, state)


def _named(gap: Gap) -> dict[str, int]:
    return {"from_height": gap.above_height + 1, "to_height": gap.height - 1}
