"""From one epoch into the next, of one member that may die before any effect, again and again.

Around it is a committee that decides the next epoch, closes this one and hands over; its messages
come in any order, late or never, with bad shares among them. What is durable when the member dies
is what the shell makes durable: all up to the last `Persist`, and how the epoch ended.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from consensus import effects as fx
from consensus.committee import Timing
from consensus.core import Checkpoint
from consensus.errors import InvalidMessage
from consensus.handover import Terms, terms_of
from consensus.messages import (
    Block,
    BlockRequest,
    BlockResponse,
    Certificate,
    HandoverShare,
    Message,
    Proposal,
    Timeout,
    Vote,
)
from consensus.safety import SafetyState
from node.verifier import BadShares
from testnet.simulation import handle
from testnet.stub_signatures import committee_document, succeeding_setting

BASE_MS = 1000
TIMING = Timing(
    round_interval_ms=0, base_timeout_ms=BASE_MS, max_lag_ms=3_600_000, max_skew_ms=3_600_000
)
LENGTH = 9
"""Blocks of an epoch's chain, one for each view."""

deaths = st.sampled_from([None, None, None, None, None, None, None, 0, 1, 2, 3, 4, 5])
"""After so many effects of an event the member dies; None: it does not."""


@dataclass
class Epoch:
    """One epoch: the committee's chain in it, what the member signed, and its disk."""

    world: Any
    chain: list[Any]
    terms: Terms | None
    """How it ends, if it does."""
    safety: SafetyState | None = None
    head: Checkpoint | None = None
    blocks: dict[bytes, Block] = field(default_factory=dict)
    votes: dict[int, bytes] = field(default_factory=dict)
    timeouts: dict[int, int] = field(default_factory=dict)
    final: list[Block] = field(default_factory=list)


class EndOfEpochMachine(RuleBasedStateMachine):
    """`epochs` are those that began for the member, the last one is present."""

    bench: Callable[..., Any]

    @initialize(decides=st.integers(1, 4), me=st.integers(0, 3))
    def the_first_epoch_begins(self, decides: int, me: int) -> None:
        self.me = me
        self.unsynced: list[Callable[[], None]] = []
        self.certifying: list[fx.CertifyHandover] = []
        self.requests: list[tuple[BlockRequest, tuple[int, ...]]] = []
        self.closed_at: int | None = None
        world = self.bench(timing=TIMING, me=me)
        change = world.sign.change(committee_document(range(4), TIMING), range(3))
        plain = world.rule.build
        world.rule.build = lambda view, observed: plain(
            view, observed, change if view == decides else None
        )
        chain = world.chain(LENGTH)
        deciding = chain[decides - 1]
        terms = terms_of(
            world.context,
            change.configuration_hash,
            deciding.block_id,
            deciding.block.header.observed_at_ms,
        )
        self.decides = decides
        self.deciding = deciding
        self.epochs = [Epoch(world, chain, terms)]
        self.setting: Any = None
        self.start(None)

    # The member and what it stands on.

    @property
    def now(self) -> Epoch:
        return self.epochs[-1]

    def start(self, dies: int | None) -> None:
        epoch = self.now
        self.certifying.clear()
        self.closed_at = None
        self.b = self.bench(
            timing=TIMING,
            me=self.me,
            setting=self.setting,
            safety=epoch.safety,
            root=epoch.head,
            stored=list(epoch.blocks.values()),
        )
        self.perform(self.b.started, dies)

    def die(self) -> None:
        self.unsynced.clear()
        self.start(None)

    def perform(self, effects: Sequence[Any], dies: int | None) -> None:
        """Do what the shell does, in its order, or only the first of it."""
        to_do, to_self = deque(effects), deque[Message]()
        done, epoch = 0, self.now
        while to_do or to_self:
            if done == dies:
                self.die()
                return
            if not to_do:
                to_do.extend(handle(self.b.core, self.me, to_self.popleft(), self.b.now_ms))
                continue
            done += 1
            own = self.do(to_do.popleft())
            if own is not None:
                to_self.append(own)
            if self.now is not epoch:
                return  # The shell ended the epoch at this effect, and leaves what follows.
        if self.b.core.safety.closed and self.closed_at is None:
            self.closed_at = self.b.core.view

    def do(self, effect: Any) -> Message | None:
        epoch, sign = self.now, self.b.sign
        match effect:
            case fx.Persist(safety=safety):
                assert not (epoch.safety and epoch.safety.closed) or safety.closed, "it reopens"
                for change in self.unsynced:
                    change()
                self.unsynced.clear()
                epoch.safety = SafetyState.decode(safety.encode())
            case fx.StoreBlock(block_id=block_id, block=block):
                self.unsynced.append(lambda: epoch.blocks.__setitem__(block_id, block))
            case fx.Committed():
                self.commit(effect)
            case fx.SendVote(header=header, block_id=block_id):
                self.votes_for(header, block_id)
                return Vote(header, sign.share(self.me, block_id))
            case fx.SendProposal(block=block, block_id=block_id, tc=tc):
                self.votes_for(block.header, block_id)
                return Proposal(block, tc, sign.share(self.me, block_id), bytes(64))
            case fx.SendTimeout(view=view, high_qc_view=high, qc=qc, tc=tc):
                assert epoch.safety is not None
                assert not epoch.safety.closed, "a timeout in a closed epoch"
                assert epoch.safety.last_timeout == (view, high), "S4: before it was durable"
                assert epoch.timeouts.setdefault(view, high) == high, "A1"
                return Timeout(view, high, sign.timeout_share(self.me, view, high), qc, tc)
            case fx.Observe():
                assert not self.b.core.safety.closed, "an observation in a closed epoch"
            case fx.SendHandoverShare(terms=terms):
                assert epoch.safety is not None
                assert epoch.safety.closed, "it hands over before the close is durable"
                assert terms == epoch.terms, "it hands over what nobody decided"
                return self.share(self.me, terms)
            case fx.SendRequest(request=BlockRequest() as request, to=to):
                self.requests.append((request, to))
            case fx.CertifyHandover():
                self.certifying.append(effect)
            case fx.HandedOver(terms=terms, certificate=certificate):
                assert epoch.safety is not None
                assert epoch.safety.closed
                assert terms == epoch.terms
                assert terms.covers(certificate)
                self.the_next_epoch_begins()
            case fx.Halt(reason=reason):
                raise AssertionError(reason)
            case _:
                pass
        return None

    def commit(self, effect: fx.Committed) -> None:
        epoch, block = self.now, effect.block
        time_ms = block.header.observed_at_ms
        head = Checkpoint(
            effect.block_id,
            block.view,
            block.height,
            time_ms,
            effect.state,
            block,
            effect.successor,
        )
        self.unsynced.append(lambda: setattr(epoch, "head", head))
        assert effect.block_id == epoch.chain[block.view - 1].block_id, "S2"
        if epoch.terms is not None:
            assert block.view <= self.decides, "what follows the deciding block is never final"
            assert (effect.successor is not None) == (block.view == self.decides)
        if block.height > len(epoch.final):
            assert block.height == len(epoch.final) + 1, "S2: oldest first, none left out"
            epoch.final.append(block)

    def votes_for(self, header: Any, block_id: bytes) -> None:
        epoch = self.now
        assert epoch.safety is not None, "S4: nothing is durable yet"
        assert not epoch.safety.closed, "a vote in a closed epoch"
        assert not self.b.core.safety.closed, "a vote while the epoch closes"
        assert epoch.safety.last_vote == header, "S4: signed before it was durable"
        assert epoch.votes.setdefault(header.view, block_id) == block_id, "S4: two votes"
        assert header.view > max(epoch.timeouts, default=0), "R4: a vote after a timeout"

    def the_next_epoch_begins(self) -> None:
        ended = self.now
        self.unsynced.clear()
        deciding = self.b.core.root
        checkpoint = Checkpoint(
            deciding.block_id,
            deciding.view,
            deciding.height,
            deciding.observed_at_ms,
            deciding.state,
            deciding.block,
        )
        assert deciding.block_id == self.deciding.block_id, "it ends with the block that decided"
        self.setting = succeeding_setting(ended.world.context, checkpoint)
        world = self.bench(timing=TIMING, me=self.me, setting=self.setting)
        self.epochs.append(Epoch(world, world.chain(LENGTH), None))
        self.start(None)
        # The tree, the views and the pace begin anew; time and state go on.
        context, core = self.b.context, self.b.core
        assert (context.epoch, core.view, core.high_qc) == (1, 1, context.genesis_qc)
        assert context.deciding_id == self.deciding.block_id
        assert (core.root.block_id, core.root.height) == (context.genesis_id, 0)
        assert core.root.observed_at_ms == self.deciding.block.header.observed_at_ms
        assert core.safety.domain == context.domain != ended.world.context.domain
        (timer,) = [e for e in self.b.started if isinstance(e, fx.SetTimer)]
        assert (timer.view, timer.duration_ms) == (1, BASE_MS)

    def event(self, happens: Callable[[], list[Any]], dies: int | None) -> None:
        try:
            effects = happens()
        except InvalidMessage:
            return
        self.perform(effects, dies)

    def share(self, member: int, terms: Terms) -> HandoverShare:
        return HandoverShare(
            terms.configuration_hash,
            terms.deciding_id,
            terms.observed_at_ms,
            self.epochs[0].world.sign.share(member, terms.digest),
        )

    def made(self, view: int) -> Any:
        return self.now.chain[min(max(view, 1), LENGTH) - 1]

    # What happens to it.

    @rule(ahead=st.integers(-1, 1), dies=deaths)
    def a_leader_proposes(self, ahead: int, dies: int | None) -> None:
        made = self.made(self.b.core.view + ahead)
        if self.b.context.leader(made.block.view) != self.me:
            self.event(lambda: self.b.propose(made), dies)

    @rule(rounds=st.integers(1, 4), dies=deaths)
    def rounds_go_well(self, rounds: int, dies: int | None) -> None:
        for _ in range(rounds):
            self.missing_blocks_are_fetched(None)
            self.a_leader_proposes(0, dies)
            self.a_block_is_certified(0, True, dies)

    @rule(ahead=st.integers(-1, 2), alone=st.booleans(), dies=deaths)
    def a_block_is_certified(self, ahead: int, alone: bool, dies: int | None) -> None:
        made = self.made(self.b.core.view + ahead)
        if alone:
            self.event(lambda: self.b.core.on_certificate(made.qc, self.b.now_ms), dies)
        else:
            message = Certificate(made.qc, None)
            self.event(lambda: self.b.give(self.b.others[0], message), dies)

    @rule(dies=deaths)
    def missing_blocks_are_fetched(self, dies: int | None) -> None:
        by_id = {made.block_id: made.block for made in self.now.chain}
        for newest in by_id:
            self.requests.clear()
            core = self.b.core
            self.event(lambda n=newest, c=core: c.on_fetch_timer(n, self.b.now_ms), None)  # type: ignore[misc]
            for request, to in list(self.requests):
                if core is self.b.core and request.block_id in by_id:
                    response = BlockResponse(request.block_id, (by_id[request.block_id],))
                    self.event(lambda m=response, t=to[0]: self.b.give(t, m), dies)  # type: ignore[misc]
            if core is not self.b.core:
                return

    @rule(dies=deaths)
    def the_timer_rings(self, dies: int | None) -> None:
        self.event(lambda: self.b.core.on_timer(self.b.core.view, self.b.now_ms), dies)

    @rule(count=st.integers(1, 3), dies=deaths)
    def others_time_out(self, count: int, dies: int | None) -> None:
        view, core = self.b.core.view, self.b.core
        for member in self.b.others[:count]:
            if core is self.b.core:
                timeout = self.b.timeout(member, view, 0)
                self.event(lambda m=member, t=timeout: self.b.give(m, t), dies)  # type: ignore[misc]

    @rule(
        member=st.integers(0, 3),
        kind=st.sampled_from(["good", "good", "good", "bad", "otherwise"]),
        dies=deaths,
    )
    def a_member_hands_over(self, member: int, kind: str, dies: int | None) -> None:
        terms = self.now.terms
        if terms is None or member == self.me:
            return
        if kind == "otherwise":
            terms = terms_of(self.b.context, b"o" * 32, terms.deciding_id, terms.observed_at_ms)
        share = self.share(member if kind != "bad" else self.me, terms)
        self.event(lambda: self.b.core.on_handover_share(member, share, self.b.now_ms), dies)

    @rule(dies=deaths)
    def what_was_to_be_certified_is(self, dies: int | None) -> None:
        if not self.certifying:
            return
        effect, core = self.certifying.pop(), self.b.core
        try:
            certificate = self.b.sign.certify_handover(effect.terms, effect.shares)
        except BadShares as error:
            bad = error.signers
            self.event(lambda: core.on_bad_handover_shares(bad, self.b.now_ms), dies)
        else:
            self.event(lambda: core.on_handover_certificate(certificate, self.b.now_ms), dies)

    @rule(dies=deaths)
    def others_have_handed_over(self, dies: int | None) -> None:
        terms = self.now.terms
        if terms is not None:
            certificate = self.b.sign.handover_certificate(terms, self.b.others)
            self.event(lambda: self.b.give(self.b.others[0], certificate), dies)

    @rule(view=st.integers(1, LENGTH), what=st.integers(0, 2))
    def the_epoch_before_speaks(self, view: int, what: int) -> None:
        """S5: nothing of it is taken, and its sender is at fault."""
        if len(self.epochs) == 1:
            return
        old = self.epochs[0]
        made, sender = old.chain[view - 1], self.b.others[0]
        messages = (
            Certificate(made.qc, None),
            old.world.timeout(sender, view, made.block.view, made.qc),
            old.world.proposal(made),
        )
        before = self.b.seen()
        with pytest.raises(InvalidMessage):
            self.b.give(old.world.context.leader(view), messages[what])
        assert self.b.seen() == before

    @rule()
    def it_is_killed(self) -> None:
        self.die()

    # What must hold whenever nothing is being done.

    @invariant()
    def s4_what_was_signed_is_not_forgotten(self) -> None:
        if hasattr(self, "epochs"):
            safety, epoch = self.b.core.safety, self.now
            assert safety.last_voted_view >= max((*epoch.votes, *epoch.timeouts), default=0)

    @invariant()
    def s2_what_is_final_is_one_chain_from_each_genesis(self) -> None:
        for epoch in getattr(self, "epochs", ()):
            context = epoch.world.context
            parent_id = context.genesis_id
            for block in epoch.final:
                assert context.id_of(block.justify) == parent_id
                parent_id = block.header.id(context.domain)
        if len(getattr(self, "epochs", ())) > 1:
            assert self.epochs[0].final[-1].view == self.decides

    @invariant()
    def a_closed_epoch_stays_where_it_is(self) -> None:
        if getattr(self, "closed_at", None) is not None:
            assert self.b.core.safety.closed
            assert self.b.core.view == self.closed_at
            assert self.b.core.root.block_id == self.deciding.block_id


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_epoch_ends_and_the_next_begins_whatever_crashes(
    bench: Callable[..., Any], thorough: bool
) -> None:
    begun = 0

    class Machine(EndOfEpochMachine):
        def the_next_epoch_begins(self) -> None:
            nonlocal begun
            super().the_next_epoch_begins()
            begun += 1

    Machine.bench = staticmethod(bench)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=600 if thorough else 150,
            stateful_step_count=50 if thorough else 30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert begun, "no run came as far as the next epoch"
    print(f"the next epoch began {begun} times")
