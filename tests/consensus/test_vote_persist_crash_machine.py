"""Votes, timeouts and proposals of one member that may die before any effect, again and again.

Around it is a committee with at most f liars: at most one block of a view is certified, and whoever
voted and then left a view has reported what it voted on. Its leaders, though, say two things and
extend old blocks, and certificates come late.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from consensus import effects as fx
from consensus.committee import Timing
from consensus.core import Checkpoint
from consensus.errors import InvalidMessage
from consensus.messages import Block, BlockResponse, Certificate, Message, Proposal, Timeout, Vote
from consensus.safety import SafetyState
from testnet.simulation import handle

TIMING = Timing(round_interval_ms=0, max_lag_ms=3_600_000, max_skew_ms=3_600_000)
LEADS = 2

deaths = st.sampled_from([None, None, None, None, None, None, 0, 1, 2, 3, 4, 5])
"""After so many effects of an event the member dies; None: it does not."""


class VotePersistCrashMachine(RuleBasedStateMachine):
    """`disk` is what survives; `certified` and `made` are the committee around the member."""

    bench: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        self.world = self.bench(timing=TIMING)
        self.made: dict[tuple[int, int], Any] = {}
        self.certified: dict[int, Any] = {}
        self.tcs: dict[int, Any] = {}
        self.proposed: dict[int, Any] = {}
        self.requests: list[fx.SendRequest] = []
        self.votes: dict[int, bytes] = {}
        self.timeouts: dict[int, int] = {}
        self.highest_parent = 0
        self.safety: SafetyState | None = None
        self.head: Checkpoint | None = None
        self.blocks: dict[bytes, Block] = {}
        self.unsynced: list[Callable[[], None]] = []
        self.final: list[Block] = []
        self.made_type = type(self.world.make(1))
        self.start(None)

    # The member and what it stands on.

    def start(self, dies: int | None) -> None:
        stored = list(self.blocks.values())
        self.b = self.bench(
            leads=LEADS, timing=TIMING, safety=self.safety, root=self.head, stored=stored
        )
        self.me = self.b.me
        self.perform(self.b.started, dies)

    def die(self) -> None:
        # Of what was not yet synced nothing survives.
        self.unsynced.clear()
        self.start(None)

    def perform(self, effects: Sequence[Any], dies: int | None) -> None:
        """Do what the shell does, in its order, or only the first of it."""
        to_do = deque(effects)
        to_self: deque[Message] = deque()
        done = 0
        while to_do or to_self:
            if done == dies:
                self.die()
                return
            if not to_do:
                message = to_self.popleft()
                to_do.extend(handle(self.b.core, self.me, message, self.b.now_ms))
                continue
            done += 1
            own = self.do(to_do.popleft())
            if own is not None:
                to_self.append(own)

    def do(self, effect: Any) -> Message | None:
        sign = self.b.sign
        match effect:
            case fx.Persist(safety=safety):
                for change in self.unsynced:
                    change()
                self.unsynced.clear()
                self.safety = SafetyState.decode(safety.encode())
            case fx.StoreBlock(block_id=block_id, block=block):
                self.unsynced.append(lambda: self.blocks.__setitem__(block_id, block))
            case fx.Committed():
                self.commit(effect)
            case fx.SendVote(header=header, block_id=block_id):
                self.signs(header.view, block_id, header)
                return Vote(header, sign.share(self.me, block_id))
            case fx.SendProposal(block=block, block_id=block_id, tc=tc):
                assert self.safety is not None
                assert self.safety.last_proposed_view >= block.view
                self.signs(block.view, block_id, block.header)
                node = self.b.core.node(block_id)
                assert node is not None
                qc = sign.qc(block.header, list(self.b.quorum))
                made = self.made_type(block, block_id, node.state, qc)
                assert self.proposed.setdefault(block.view, made).block == block, "S4: R8"
                share, signature = sign.share(self.me, block_id), bytes(64)
                return Proposal(block, tc, share, signature)
            case fx.SendTimeout(view=view, high_qc_view=high, qc=qc, tc=tc):
                self.leaves(view, high, qc)
                return Timeout(view, high, sign.timeout_share(self.me, view, high), qc, tc)
            case fx.SendRequest():
                self.requests.append(effect)
            case fx.Halt(reason=reason):
                raise AssertionError(reason)
            case _:
                pass
        return None

    def commit(self, effect: fx.Committed) -> None:
        block = effect.block
        header = block.header
        time_ms = header.observed_at_ms
        head = Checkpoint(effect.block_id, block.view, block.height, time_ms, effect.state, block)
        self.unsynced.append(lambda: setattr(self, "head", head))
        if block.height <= len(self.final):
            assert self.final[block.height - 1] == block, "S2: it was another block before"
        else:
            assert block.height == len(self.final) + 1, "S2: oldest first, none left out"
            self.final.append(block)

    def signs(self, view: int, block_id: bytes, header: Any) -> None:
        assert self.safety is not None, "S4: nothing is durable yet"
        assert self.safety.last_vote == header, "S4: signed before it was durable"
        assert self.safety.last_voted_view >= view
        assert self.votes.setdefault(view, block_id) == block_id, "S4: two votes in one view"
        assert view > max(self.timeouts, default=0), "R4: a vote after a timeout"
        block = self.blocks[block_id]
        assert self.is_justified(block), "R3: a vote that nothing justifies"
        self.highest_parent = max(self.highest_parent, block.justify.view)
        self.has_observed_time(block)

    def has_observed_time(self, block: Block) -> None:
        parent_ms = block.justify.header.observed_at_ms
        times = [
            int.from_bytes(observed.body, "big")
            for observed in msgspec.msgpack.decode(block.payload, type=tuple[Any, ...])
            for observed in [msgspec.convert(observed, type=_Observed)]
        ]
        honest = sorted(times)[1:-1] if len(times) > 3 else sorted(times)[:-1]
        agreed_ms = block.header.observed_at_ms
        assert min(honest) <= agreed_ms <= max(honest) or agreed_ms == parent_ms + 1, "S3"

    def leaves(self, view: int, high: int, qc: Any) -> None:
        assert self.safety is not None, "S4: nothing is durable yet"
        assert self.safety.last_timeout == (view, high), "S4: signed before it was durable"
        assert self.safety.last_voted_view >= view
        assert self.timeouts.setdefault(view, high) == high, "A1: two timeouts of one view"
        assert high >= self.highest_parent, "A1: it hides a certificate it built on"
        assert qc.view >= high

    def event(self, happens: Callable[[], list[Any]], dies: int | None) -> None:
        try:
            effects = happens()
        except InvalidMessage:
            return
        self.perform(effects, dies)

    # What happens to it.

    def parent_for(self, view: int, back: int) -> Any:
        below = [v for v in sorted(self.certified) if v < view]
        return self.certified[below[-1 - back % len(below)]] if below else None

    def block(self, view: int, variant: int, back: int = 0) -> Any:
        """Return a valid block of a view, the same each time it is asked for."""
        if (view, variant) not in self.made:
            parent = self.parent_for(view, back)
            at_ms = self.world.now_ms + 100 * view + variant
            self.made[view, variant] = self.world.make(view, parent, at_ms=at_ms)
        return self.made[view, variant]

    def reported(self, view: int) -> int:
        """Return what a TC of a view reports at least: who voted knew what it voted on."""
        voted = [made.block.justify.view for v, made in self.certified.items() if v <= view]
        return max(voted, default=0)

    def tc_for(self, view: int, weak: bool = False) -> Any:
        """Return the TC of a view, when it is made with the least or the most that may be in it."""
        if view not in self.tcs:
            high = max((v for v in self.certified if v < view), default=0)
            high = self.reported(view) if weak else high
            qc = self.certified[high].qc if high else self.world.context.genesis_qc
            self.tcs[view] = self.world.tc(view, qc)
        return self.tcs[view]

    def is_justified(self, block: Block) -> bool:
        tc = self.tcs.get(block.view - 1)
        known = block.justify.view
        return known == block.view - 1 or (tc is not None and known >= tc.groups[-1].high_qc_view)

    @rule(ahead=st.integers(-1, 1), variant=st.integers(0, 2), back=st.integers(0, 1), dies=deaths)
    def a_leader_proposes(self, ahead: int, variant: int, back: int, dies: int | None) -> None:
        view = max(1, self.b.core.view + ahead)
        made = self.block(view, variant, back)
        tc = None if made.block.justify.view == view - 1 else self.tc_for(view - 1)
        if self.b.context.leader(view) != self.me:
            self.event(lambda: self.b.propose(made, tc), dies)

    @rule(variant=st.integers(0, 2), dies=deaths)
    def a_leader_lies_about_the_time(self, variant: int, dies: int | None) -> None:
        made = self.block(self.b.core.view, variant)
        header = msgspec.structs.replace(
            made.block.header, observed_at_ms=made.block.header.observed_at_ms + 5_000
        )
        block_id = header.id(self.b.context.domain)
        block = msgspec.structs.replace(made.block, header=header)
        lie = type(made)(block, block_id, made.state, made.qc)
        tc = None if block.justify.view == block.view - 1 else self.tc_for(block.view - 1)
        if self.b.context.leader(block.view) != self.me:
            self.event(lambda: self.b.propose(lie, tc), dies)

    def certify(self, made: Any) -> Any:
        """Return the certificate of a view, of this block if there is none yet and it may be."""
        view = made.block.view
        if view not in self.certified:
            parent_view = made.block.justify.view
            left = [tc for v, tc in self.tcs.items() if v >= view]
            # Whoever voted for it and left a view later has reported the parent.
            shut_out = any(tc.groups[-1].high_qc_view < parent_view for tc in left)
            if shut_out or not self.is_justified(made.block):
                return None
            self.certified[view] = made
        return self.certified[view].qc

    def hear_qc(self, qc: Any, alone: bool, dies: int | None) -> None:
        if alone:
            self.event(lambda: self.b.core.on_certificate(qc, self.b.now_ms), dies)
        else:
            self.event(lambda: self.b.give(self.b.others[0], Certificate(qc, None)), dies)

    @rule(ahead=st.integers(-1, 1), variant=st.integers(0, 2), alone=st.booleans(), dies=deaths)
    def a_block_is_certified(self, ahead: int, variant: int, alone: bool, dies: int | None) -> None:
        view = max(1, self.b.core.view + ahead)
        mine = self.b.context.leader(view) == self.me
        made = self.proposed.get(view) if mine else self.block(view, variant)
        qc = self.certify(made) if made is not None else None
        if qc is not None:
            self.hear_qc(qc, alone, dies)

    @rule(rounds=st.integers(1, 3), alone=st.booleans(), dies=deaths)
    def rounds_go_well(self, rounds: int, alone: bool, dies: int | None) -> None:
        for _ in range(rounds):
            newest = max(self.certified, default=0)
            if newest >= self.b.core.view:
                self.hear_qc(self.certified[newest].qc, alone, None)
                self.missing_blocks_are_fetched(None)
            view = self.b.core.view
            if self.b.context.leader(view) == self.me:
                self.observations_come(4, dies)
                made = self.proposed.get(view)
            else:
                self.a_leader_proposes(0, 0, 0, dies)
                made = self.block(view, 0)
            qc = self.certify(made) if made is not None else None
            if qc is not None:
                self.hear_qc(qc, alone, dies)

    @rule(weak=st.booleans(), dies=deaths)
    def a_view_is_left(self, weak: bool, dies: int | None) -> None:
        tc = self.tc_for(self.b.core.view, weak)
        message = Certificate(self.world.context.genesis_qc, tc)
        self.event(lambda: self.b.give(self.b.others[0], message), dies)

    @rule(count=st.integers(1, 3), dies=deaths)
    def others_time_out(self, count: int, dies: int | None) -> None:
        view = self.b.core.view
        for member in self.b.others[:count]:
            timeout = self.b.timeout(member, view, 0)
            self.event(lambda m=member, t=timeout: self.b.give(m, t), dies)  # type: ignore[misc]

    @rule(dies=deaths)
    def the_timer_rings(self, dies: int | None) -> None:
        self.event(lambda: self.b.core.on_timer(self.b.core.view, self.b.now_ms), dies)

    @rule(count=st.integers(3, 4), dies=deaths)
    def observations_come(self, count: int, dies: int | None) -> None:
        view = self.b.core.view
        for member in range(count):
            at_ms = self.world.now_ms + 100 * view + 10 * member
            observed = self.b.sign.observed(member, view, at_ms)
            self.event(
                lambda m=member, o=observed: self.b.core.on_observation(  # type: ignore[misc]
                    m, o, self.b.now_ms
                ),
                dies,
            )
        self.event(lambda: self.b.core.on_grace(view, self.b.now_ms), dies)

    @rule(dies=deaths)
    def missing_blocks_are_fetched(self, dies: int | None) -> None:
        by_id = {made.block_id: made.block for made in self.certified.values()}
        for newest in list(by_id):
            for _ in range(len(by_id)):
                self.requests.clear()
                self.event(lambda n=newest: self.b.core.on_fetch_timer(n, self.b.now_ms), None)  # type: ignore[misc]
                for request in list(self.requests):
                    found = by_id[request.request.block_id]
                    response = BlockResponse(request.request.block_id, (found,))
                    self.event(lambda r=request, m=response: self.b.give(r.to[0], m), dies)  # type: ignore[misc]
                if not self.requests:
                    break

    @rule()
    def it_is_killed(self) -> None:
        self.die()

    # What must hold whenever nothing is being done.

    @invariant()
    def s1_one_block_a_view_has_this_members_vote(self) -> None:
        assert len(set(self.votes.values())) == len(self.votes)

    @invariant()
    def s2_what_is_final_is_one_chain(self) -> None:
        parent_id = self.b.context.genesis_id
        for block in self.final:
            assert self.b.context.id_of(block.justify) == parent_id
            parent_id = block.header.id(self.b.context.domain)

    @invariant()
    def s4_what_was_signed_is_not_forgotten(self) -> None:
        safety = self.b.core.safety
        assert safety.last_voted_view >= max((*self.votes, *self.timeouts), default=0)
        if safety.last_voted_view in self.votes and safety.last_vote is not None:
            last = safety.last_vote
            if last.view == safety.last_voted_view:
                assert self.votes[last.view] == last.id(self.b.context.domain)
        if self.timeouts:
            view = max(self.timeouts)
            assert safety.last_timeout is not None
            assert safety.last_timeout >= (view, self.timeouts[view])

    @invariant()
    def a1_the_certificate_of_what_it_voted_on_is_kept(self) -> None:
        assert self.b.core.high_qc.view >= self.highest_parent


class _Observed(msgspec.Struct, array_like=True):
    view: int
    member: int
    body: bytes
    signature: bytes


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_vote_is_forgotten_whatever_crashes(bench: Callable[..., Any], thorough: bool) -> None:
    class Machine(VotePersistCrashMachine):
        pass

    Machine.bench = staticmethod(bench)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=250 if thorough else 60,
            stateful_step_count=50 if thorough else 25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
