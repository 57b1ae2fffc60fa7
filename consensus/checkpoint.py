"""A final block with its agreed state, for members whose gap is long or cannot be filled any more.

Whoever sends one need not be believed. The id of the block covers its link, the link covers the
state after it, and the certificate of a later block, whose parent is of the view just before it,
shows that all below that block is final (R6). What lies between is shown by links, without
payloads: one of them as a rule, more where an epoch ends, as a member stops at the very block that
decided the next one.
"""

from collections.abc import Sequence

from consensus import rules
from consensus.blocktree import Node
from consensus.committee import EpochContext, signers_of
from consensus.digests import link_digest
from consensus.errors import InvalidMessage
from consensus.messages import (
    DESCENDANTS_MAX,
    QC,
    STATE_BYTES_MAX,
    CheckpointResponse,
    Descendant,
)
from consensus.payload import PayloadRule

FAR_BLOCKS = 512
"""A gap of more blocks is not filled block by block while a checkpoint may be had."""

ANSWERS_EVERY_DIVISOR = 4
"""A member is answered once in this part of the base timeout."""


def check_checkpoint(
    context: EpochContext, rule: PayloadRule, response: CheckpointResponse
) -> Node:
    """Check everything about a checkpoint except aggregate signatures; return its block as a node.

    Raises `InvalidMessage`.
    """
    block, qc = response.block, response.qc
    rules.check_qc(context, qc)
    rules.check_qc(context, block.justify)
    if not block.justify.view < block.view:
        raise InvalidMessage("a checkpoint that is not newer than its certificate")
    block_id = block.header.id(context.domain)
    parent_id = context.id_of(block.justify)
    if block.header.link != block.link_with(parent_id, rule.digest(block.view, block.payload)):
        raise InvalidMessage("a checkpoint whose link does not cover it")
    _check_final(context, response, block_id)
    restored = rule.restore(response.state)
    if restored.state_digest != block.state_digest:
        raise InvalidMessage("a checkpoint with another state than its block's")
    if restored.deciding_view is not None and restored.deciding_view != block.view:
        raise InvalidMessage("a checkpoint beyond the block that ended its epoch")
    return Node(
        block_id,
        parent_id,
        block,
        block.view,
        block.height,
        block.header.observed_at_ms,
        restored.state,
        certified=True,
        successor=restored.successor,
    )


def _check_final(context: EpochContext, response: CheckpointResponse, block_id: bytes) -> None:
    """Follow the links upwards to a certified block whose parent is of the view before (R6)."""
    parent_id, parent_view, height = block_id, response.block.view, response.block.height
    below = parent_view
    for descendant in response.descendants:
        header = descendant.header
        height += 1
        if not header.view > parent_view:
            raise InvalidMessage("a checkpoint whose links do not ascend")
        link = link_digest(
            parent_id, parent_view, height, descendant.state_digest, descendant.payload_digest
        )
        if header.link != link:
            raise InvalidMessage("a checkpoint with a link that does not lead to it")
        below, parent_view = parent_view, header.view
        parent_id = header.id(context.domain)
    if response.qc.header != response.descendants[-1].header:
        raise InvalidMessage("a checkpoint whose certificate is of another block")
    if response.qc.view != below + 1:
        raise InvalidMessage("a checkpoint that its certificate does not make final")


def make_checkpoint(
    context: EpochContext, rule: PayloadRule, root: Node, above: Sequence[Node], qc: QC
) -> CheckpointResponse | None:
    """Return the checkpoint of a final block, which `qc` of the last block above it shows.

    `above` are the blocks from its child to the certified one. None if a bound is exceeded.
    """
    state = rule.encode_state(root.state)
    if root.block is None or not above:
        return None
    if len(above) > DESCENDANTS_MAX or len(state) > STATE_BYTES_MAX:
        return None
    descendants = []
    for node in above:
        assert node.block is not None
        block = node.block
        digest = rule.digest(block.view, block.payload)
        descendants.append(Descendant(block.header, block.state_digest, digest))
    return CheckpointResponse(root.block, state, tuple(descendants), qc)


class CheckpointSearch:
    """Who is asked for a checkpoint, and who may still answer: bounded by the committee."""

    def __init__(self, context: EpochContext, me: int) -> None:
        self._context = context
        self._me = me
        self._turn = 0
        self._awaited: set[int] = set()
        self._answered_ms: dict[int, int] = {}
        self.is_open = False
        self.attempts = 0
        """How often was asked since the search began."""

    def begin(self) -> None:
        """Begin to ask; what was asked for before may still come."""
        self.is_open = True
        self.attempts = 0

    def end(self) -> None:
        """Stop: nothing more is taken."""
        self.is_open = False
        self._awaited.clear()

    def ask(self, qc: QC) -> tuple[int, ...]:
        """Return f+1 of a certificate's signers, others at each attempt: one of them is honest.

        The turn goes on from one search to the next, so that no liar is always asked first.
        """
        self.attempts += 1
        signers = [signer for signer in signers_of(qc.bitmap) if signer != self._me]
        if not signers:
            return ()
        count = min(self._context.f + 1, len(signers))
        chosen = tuple(signers[(self._turn + i) % len(signers)] for i in range(count))
        self._turn = (self._turn + count) % len(signers)
        self._awaited |= set(chosen)
        return chosen

    def awaits(self, member: int) -> bool:
        """Tell whether a member was asked and has not answered."""
        return member in self._awaited

    def take(self, member: int) -> None:
        """Note a member's answer: it has one for each time it was asked."""
        self._awaited.discard(member)

    def may_answer(self, member: int, now_ms: int) -> bool:
        """Tell whether a member that asks may be answered again, and note that it was."""
        every_ms = self._context.configuration.timing.base_timeout_ms // ANSWERS_EVERY_DIVISOR
        before_ms = self._answered_ms.get(member)
        if before_ms is not None and 0 <= now_ms - before_ms < every_ms:
            return False
        self._answered_ms[member] = now_ms
        return True
