"""One core under a microscope: everything around it is made by hand, signatures are stubs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import pytest

from consensus import effects as fx
from consensus.committee import EpochContext, Timing
from consensus.core import Checkpoint, Core, genesis_checkpoint, genesis_safety
from consensus.messages import QC, TC, Block, Header, Message, Proposal, Timeout, Vote
from consensus.safety import SafetyState
from testnet.setting import Setting
from testnet.simulation import handle
from testnet.stub_signatures import (
    GENESIS_STATE,
    StubRule,
    StubSignatures,
    stub_context,
)


@dataclass
class Made:
    """A valid block, with what the rule says follows from it."""

    block: Block
    block_id: bytes
    state: bytes
    qc: QC


class Bench:
    """A core of member `me`, which leads no view before view n unless told otherwise."""

    def __init__(
        self,
        n: int = 4,
        leads: int = 0,
        *,
        timing: Timing | None = None,
        safety: SafetyState | None = None,
        root: Checkpoint | None = None,
        stored: Iterable[Block] = (),
        setting: Setting | None = None,
        me: int | None = None,
    ) -> None:
        self.context: EpochContext = setting.context if setting else stub_context(n, timing)
        self.sign = StubSignatures(self.context)
        self.rule = StubRule(n)
        self.me = self.context.leader(leads) if me is None else me
        self.others = [i for i in range(n) if i != self.me]
        self.genesis_state = setting.genesis_state if setting else GENESIS_STATE
        self.now_ms = self.context.genesis_time_ms
        self.made: dict[bytes, Made] = {}
        self.root = root or genesis_checkpoint(self.context, self.genesis_state)
        self.core = Core(
            self.context, self.me, self.rule, safety or genesis_safety(self.context), self.root
        )
        self.started = self.core.start(stored, self.now_ms)

    @property
    def quorum(self) -> Sequence[int]:
        """The q lowest members."""
        return range(self.context.q)

    def make(
        self, view: int, parent: Made | None = None, *, at_ms: int = 0, signers: Sequence[int] = ()
    ) -> Made:
        """Make a valid block on a parent (the genesis by default), and its certificate."""
        if parent is None:
            justify, state, height = self.context.genesis_qc, self.genesis_state, 0
            parent_time, parent_id = self.context.genesis_time_ms, self.context.genesis_id
        else:
            justify, state, height = parent.qc, parent.state, parent.block.height
            parent_time, parent_id = parent.block.header.observed_at_ms, parent.block_id
        when = at_ms or max(self.now_ms, parent_time + 1)
        payload = self.rule.build(view, [self.sign.observed(i, view, when) for i in self.quorum])
        outcome = self.rule.apply(state, parent_time, view, payload)
        assert isinstance(outcome.state, bytes)
        header = Header(view, outcome.observed_at_ms, outcome.feed_root, bytes(32))
        block = Block(header, height + 1, outcome.state_digest, payload, justify)
        header = msgspec.structs.replace(
            header, link=block.link_with(parent_id, outcome.payload_digest)
        )
        block = msgspec.structs.replace(block, header=header)
        block_id = header.id(self.context.domain)
        qc = self.sign.qc(header, signers or list(self.quorum))
        made = Made(block, block_id, outcome.state, qc)
        self.made[block_id] = made
        return made

    def chain(self, length: int, parent: Made | None = None, first_view: int = 1) -> list[Made]:
        """Make a chain of blocks in consecutive views."""
        chain: list[Made] = []
        for view in range(first_view, first_view + length):
            parent = self.make(view, parent)
            chain.append(parent)
        return chain

    def proposal(self, made: Made, tc: TC | None = None) -> Proposal:
        """Sign a proposal as its view's leader."""
        leader = self.context.leader(made.block.view)
        return Proposal(
            made.block,
            tc,
            self.sign.share(leader, made.block_id),
            self.sign.proposal_signature(leader, made.block_id),
        )

    def propose(self, made: Made, tc: TC | None = None) -> list[fx.Effect]:
        """Let the core see a proposal of its view's leader."""
        return self.give(self.context.leader(made.block.view), self.proposal(made, tc))

    def vote(self, signer: int, made: Made) -> Vote:
        """Sign a vote."""
        return Vote(made.block.header, self.sign.share(signer, made.block_id))

    def timeout(
        self, signer: int, view: int, high: int, qc: QC | None = None, tc: TC | None = None
    ) -> Timeout:
        """Sign a timeout."""
        share = self.sign.timeout_share(signer, view, high)
        return Timeout(view, high, share, qc or self.context.genesis_qc, tc)

    def tc(self, view: int, high_qc: QC | None = None, high: int | None = None) -> TC:
        """Make a TC in which all reported one high-QC view."""
        qc = high_qc or self.context.genesis_qc
        reported = qc.view if high is None else high
        return self.sign.tc(view, dict.fromkeys(self.quorum, reported), qc)

    def give(self, sender: int, message: Message) -> list[fx.Effect]:
        """Check a message as the shell does, and let the core handle it."""
        self.sign.check(sender, message)
        return handle(self.core, sender, message, self.now_ms)

    def observe(self, view: int, members: Iterable[int] | None = None) -> list[fx.Effect]:
        """Let the core see observations of these members (all by default)."""
        out: list[fx.Effect] = []
        for member in range(self.context.n) if members is None else members:
            observed = self.sign.observed(member, view, self.now_ms)
            out += self.core.on_observation(member, observed, self.now_ms)
        return out

    def advance(self, chain: Iterable[Made]) -> list[fx.Effect]:
        """Let the core see a chain of proposals and the certificate of the last."""
        out: list[fx.Effect] = []
        last = None
        for made in chain:
            out += self.propose(made)
            last = made
        if last is not None:
            out += self.core.on_certificate(last.qc, self.now_ms)
        return out

    def seen(self) -> object:
        """Return all that the core holds, as comparable text."""
        return deep(self.core)


def deep(value: object) -> object:
    """Return a value's whole content, so that two snapshots can be compared."""
    if isinstance(value, dict):
        return [(deep(k), deep(v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return [deep(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(deep(item)) for item in value)
    if isinstance(value, EpochContext | StubRule | msgspec.Struct):
        return repr(value)
    names = getattr(value, "__slots__", None) or getattr(value, "__dict__", None)
    if names and not isinstance(value, bytes | int | str):
        return [(name, deep(getattr(value, name))) for name in names]
    return repr(value)


def of_kind(effects: Iterable[object], *kinds: type) -> list[object]:
    """Return the effects of some kinds."""
    return [effect for effect in effects if isinstance(effect, kinds)]


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Make a bench."""
    return Bench


@pytest.fixture
def of() -> Callable[..., list[object]]:
    """Filter effects by kind."""
    return of_kind
