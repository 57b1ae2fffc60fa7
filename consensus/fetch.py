"""Blocks that a certificate names and that are not here: who is asked, and what has come.

A chain is asked for newest first and kept until it reaches a known block. Blocks are checked as
they come: the id of a block covers its header, the header's link the rest of it and its parent, so
whoever sends anything but the certified chain is found out at once. Whether it follows from the
state before it is checked when the chain is inserted, oldest first.

A chain that is too long to be held is fetched twice: on the way down only waypoints are kept, and
from the lowest of them it is climbed up again, piece by piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consensus.committee import EpochContext, signers_of
from consensus.errors import InvalidMessage
from consensus.evidence import link_of
from consensus.messages import QC, Block, Link
from consensus.payload import PayloadRule

CHAIN_BLOCKS_MAX = 256
"""So many blocks of a chain are held, and inserted in one step, at most."""

CHAIN_BYTES_MAX = 1 << 24
"""So many bytes of a chain are held at most, give or take one response."""

WANTED_MAX = 8

STUCK_TIMEOUTS = 3
"""After so many base timeouts without any progress a checkpoint is looked for too."""

PATIENCE_TIMEOUTS = 12
"""Nor must a liar that has what others have pruned show one block after the other for longer."""


@dataclass(slots=True)
class Want:
    """One certified block that is missing, and the part of its chain that has come so far.

    `chain` is the piece that begins below `start`; `waypoints` are the starts of the pieces above
    it, the lowest last.
    """

    qc: QC
    block_id: bytes
    start: QC
    height: int | None = None
    """The height of the block, once that has come."""
    lowest: int | None = None
    """The height of the lowest block of the chain that has come, on the way down."""
    waypoints: list[QC] = field(default_factory=list)
    chain: list[Block] = field(default_factory=list)
    bytes_held: int = 0
    asked: frozenset[int] = frozenset()
    attempts: int = 0


def check_chain(
    context: EpochContext, rule: PayloadRule, qc: QC, blocks: Sequence[Block]
) -> list[tuple[bytes, Link]]:
    """Check that blocks, newest first, are the one that a certificate names and its ancestors.

    Returns their ids and what their links cover; raises `InvalidMessage`.
    """
    links: list[tuple[bytes, Link]] = []
    wanted, view = context.id_of(qc), qc.view
    for block in blocks:
        if block.header.id(context.domain) != wanted:
            raise InvalidMessage("a block that was not asked for")
        if not block.justify.view < block.view == view:
            raise InvalidMessage("a block whose view does not fit its chain")
        block_id, wanted = wanted, context.id_of(block.justify)
        link = link_of(block, wanted, rule.digest(block.view, block.payload))
        if block.header.link != link.digest:
            raise InvalidMessage("a block whose link does not cover it")
        links.append((block_id, link))
        view = block.justify.view
    return links


class Fetcher:
    """The missing blocks of one member, bounded in number and in length."""

    def __init__(self, context: EpochContext, me: int, rule: PayloadRule) -> None:
        self._context = context
        self._me = me
        self._rule = rule
        self._wants: dict[bytes, Want] = {}
        self._begun_ms = 0
        self._progress_ms = 0
        self._reach = 0
        """The lowest view that any chain has come down to since blocks were last inserted."""

    def __contains__(self, block_id: bytes) -> bool:
        return block_id in self._wants

    def want(self, qc: QC, now_ms: int) -> Want | None:
        """Begin to look for a certificate's block; None if it is looked for already.

        With too many at once the one with the shortest chain gives way, of these the lowest: while
        views pass faster than a long chain comes, the longest one must not be thrown away.
        """
        block_id = self._context.id_of(qc)
        if block_id in self._wants:
            return None
        if not self._wants:
            self.progressed(now_ms)
        if len(self._wants) >= WANTED_MAX:
            least = min(
                self._wants.values(),
                key=lambda want: (len(want.waypoints), len(want.chain), want.qc.view),
            )
            del self._wants[least.block_id]
        want = self._wants[block_id] = Want(qc, block_id, qc)
        return want

    def get(self, block_id: bytes) -> Want | None:
        """Return what is known of a missing block."""
        return self._wants.get(block_id)

    def all(self) -> tuple[Want, ...]:
        """Return what is looked for, lowest view first."""
        return tuple(sorted(self._wants.values(), key=lambda want: want.qc.view))

    def next_wanted(self, want: Want) -> tuple[bytes, QC]:
        """Return the id to ask for next, and the certificate whose signers have it."""
        if not want.chain:
            return self._context.id_of(want.start), want.start
        justify = want.chain[-1].justify
        return self._context.id_of(justify), justify

    def is_left_to_another(self, want: Want) -> bool:
        """Tell whether the next block is looked for already, as the newest of another chain."""
        block_id, _ = self.next_wanted(want)
        return block_id != want.block_id and block_id in self._wants

    def view_below(self, want: Want) -> int:
        """Return the highest view that another chain, below the next block, begins with; or 0."""
        _, qc = self.next_wanted(want)
        return max((w.qc.view for w in self._wants.values() if w.qc.view < qc.view), default=0)

    def ask(self, want: Want) -> tuple[int, ...]:
        """Return f+1 of the signers, others at each attempt: at least one of them is honest."""
        _, qc = self.next_wanted(want)
        signers = [signer for signer in signers_of(qc.bitmap) if signer != self._me]
        if not signers:
            return ()
        count = min(self._context.f + 1, len(signers))
        start = want.attempts * count
        want.attempts += 1
        chosen = tuple(signers[(start + i) % len(signers)] for i in range(count))
        want.asked |= frozenset(chosen)
        return chosen

    def extend(
        self, want: Want, blocks: tuple[Block, ...], now_ms: int
    ) -> list[tuple[bytes, Link]]:
        """Append blocks to a chain; return their ids and what their links cover.

        Raises `InvalidMessage` if they are not the ones asked for.
        """
        _, qc = self.next_wanted(want)
        links = check_chain(self._context, self._rule, qc, blocks)
        if want.height is None and blocks:
            want.height = blocks[0].height
        want.chain.extend(blocks)
        if blocks:
            want.lowest = blocks[-1].height
            reach = blocks[-1].justify.view
            if reach < self._reach:
                self._reach, self._progress_ms = reach, now_ms
        want.bytes_held += sum(len(block.payload) for block in blocks)
        return links

    def is_full(self, want: Want) -> bool:
        """Tell whether no more of a chain may be held."""
        return len(want.chain) >= CHAIN_BLOCKS_MAX or want.bytes_held >= CHAIN_BYTES_MAX

    def descend(self, want: Want) -> None:
        """Give up the piece that is held, but for where it begins, and go on below it."""
        want.waypoints.append(want.start)
        self._begin(want, want.chain[-1].justify)

    def climb(self, want: Want) -> bool:
        """Go on with the piece above the one that was inserted; False if that was the last."""
        if not want.waypoints:
            return False
        self._begin(want, want.waypoints.pop())
        want.lowest = None
        return True

    def _begin(self, want: Want, start: QC) -> None:
        want.start = start
        want.chain.clear()
        want.bytes_held = 0

    def progressed(self, now_ms: int) -> None:
        """Note that certified blocks were inserted, or that looking for blocks begins."""
        self._begun_ms = self._progress_ms = now_ms
        self._reach = 1 << 63

    def is_stuck(self, now_ms: int) -> bool:
        """Tell whether blocks are missing and nobody asked has brought the tree nearer to them.

        Of all chains together: while views pass, one gives way to the next, each as short.
        """
        if not self._wants:
            return False
        # A clock that was set back begins anew.
        self._progress_ms = min(self._progress_ms, now_ms)
        self._begun_ms = min(self._begun_ms, now_ms)
        timeout_ms = self._context.configuration.timing.base_timeout_ms
        return (
            now_ms - self._progress_ms >= STUCK_TIMEOUTS * timeout_ms
            or now_ms - self._begun_ms >= PATIENCE_TIMEOUTS * timeout_ms
        )

    def begin_anew(self, now_ms: int) -> None:
        """Forget what has come of every chain: it may lie below the last final block by now."""
        self.progressed(now_ms)
        for want in self._wants.values():
            want.waypoints.clear()
            want.lowest = None
            self._begin(want, want.qc)

    def drop(self, block_id: bytes) -> None:
        """Stop looking for a block."""
        self._wants.pop(block_id, None)

    def drop_below(self, view: int) -> None:
        """Stop looking for blocks that no longer matter."""
        for want in [w for w in self._wants.values() if w.qc.view <= view]:
            del self._wants[want.block_id]
