"""Byzantine members: f of them act in concert, know everything, and choose by seed what they do.

Each runs an ordinary core, so that it takes part and knows the protocol's state; what leaves it is
changed or kept back, and the coalition sends what no core would. `VICES` names what it may do; a
coalition has some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from consensus.committee import bitmap_of
from consensus.core import genesis_checkpoint
from consensus.digests import timeout_digest
from consensus.handover import terms_in, terms_of
from consensus.messages import (
    QC,
    TC,
    Block,
    BlockResponse,
    CheckpointResponse,
    HandoverCertificate,
    HandoverShare,
    Header,
    Message,
    ObservationMessage,
    Observed,
    Proposal,
    Timeout,
    Vote,
)
from consensus.messages import Certificate as CertificateMessage
from testnet.byzantine_choices import (
    FALSE_WAYS,
    WRONG_TIMES_MS,
    false_checkpoint,
    false_ground,
    false_response,
    quorum_of_choice,
)
from testnet.byzantine_knowledge import Knowledge
from testnet.forgeries import elsewhere, replace, spoilt
from testnet.setting import BAD_SHARES

if TYPE_CHECKING:
    from testnet.simulated_node import Node
    from testnet.simulation import Simulation

VICES = {
    "equivocate": "two proposals in a view, votes for both, two timeouts",
    "stale": "propose on the weakest TC and the stalest QC that can be built",
    "overreach": "propose on less than that: older QCs, TCs of other views, false bitmaps",
    "withhold": "send proposals, votes, timeouts and observations to some only",
    "hide": "keep certificates back and show them later to one member",
    "lie": "observe wrong times, and different ones for different members",
    "future": "speak of views far ahead",
    "garbage": "send bytes that are nearly a message",
    "replay": "send what was signed in another network or epoch, or by others",
    "flood": "send the same and the like many times",
    "jam": "have the network lose the votes of the view before a faulty leader's",
    "misinform": "answer requests with wrong blocks, and with wrong or old checkpoints",
    "misdirect": "hand over to epochs that nobody decided, or before the end; invent prices",
    "forge": "sign with infinity, points off the curve or the subgroup, and others' shares",
}

PROPOSING = frozenset({"equivocate", "stale", "overreach"})

DEEDS_MAX = 60
"""Deeds of one coalition in one run, a bound on what a run costs."""


class Coalition:
    """The faulty members of one run; `vices` are drawn unless they are given."""

    def __init__(
        self, simulation: Simulation, random: Random, vices: Sequence[str] | None = None
    ) -> None:
        self.simulation = simulation
        self.random = random
        drawn = random.sample(sorted(VICES), random.randint(2, len(VICES)))
        self.vices = frozenset(drawn if vices is None else vices)
        assert self.vices <= VICES.keys()
        # One way in a run, so that it is tried well.
        self._false_way = random.choice(FALSE_WAYS)
        self.knows = Knowledge(
            simulation.context,
            simulation.signatures,
            simulation.setting.rule,
            simulation.faulty,
            genesis_checkpoint(simulation.context, simulation.setting.genesis_state),
        )
        self.members = sorted(simulation.faulty)
        self.deeds: dict[str, int] = {}
        self._entered = 0
        self._old_checkpoint: CheckpointResponse | None = None
        self._left: set[int] = set()
        self._voted: set[tuple[int, bytes]] = set()
        for node in simulation.nodes:
            if node.member in simulation.faulty:
                node.intercept = self._intercept
        if "jam" in self.vices:
            simulation.cut = self._jams

    # What it sees.

    def saw(self, sender: int, message: Message) -> None:
        """See what an honest member sends, at the moment it is signed."""
        self.knows.learn(sender, message)
        match message:
            case Timeout(view=view) if view not in self._left and self.knows.leavable(view):
                self._left.add(view)
                self._led_by_us(view + 1, self._propose)
                if "hide" in self.vices:
                    self._soon(self._show_certificate)
            case Proposal(block=block):
                self._vote(block, chance=50)
            case _:
                pass

    def entered(self, view: int) -> None:
        """See that an honest member enters a view."""
        if view <= self._entered:
            return
        self._entered = view
        self._led_by_us(view, self._propose)
        for vice, deed in (
            ("hide", self._show_certificate),
            ("lie", self._lie),
            ("future", self._speak_of_the_future),
            ("garbage", self._spoil),
            ("replay", self._replay),
            ("flood", self._flood),
            ("equivocate", self._time_out_twice),
            ("misdirect", self._hand_over_falsely),
        ):
            if vice in self.vices and self.random.random() < 1 / 3:
                self._soon(deed)

    def _led_by_us(self, view: int, deed: Callable[[int], None]) -> None:
        leads = self.simulation.context.leader(view) in self.simulation.faulty
        if leads and self.vices & PROPOSING:
            self._soon(deed, view)

    def _soon(self, deed: Callable[..., None], *arguments: object) -> None:
        if sum(self.deeds.values()) < DEEDS_MAX:
            self.simulation.after(self.random.choice((0, 1, 5, 30)), deed, *arguments)

    def _did(self, vice: str) -> None:
        self.deeds[vice] = self.deeds.get(vice, 0) + 1
        self.simulation.faults += 1

    # What it lets its own cores send.

    def _intercept(self, node: Node, to: int, message: Message) -> list[Message]:
        random, vices = self.random, self.vices
        if isinstance(message, Proposal):
            self.knows.learn_block(message.block)
        if "withhold" in vices and random.random() < 0.4:
            self._did_quietly()
            return []
        match message:
            case Vote() if "hide" in vices and random.random() < 0.6:
                self._did_quietly()
                return []
            case Proposal() if vices & PROPOSING and random.random() < 0.75:
                self._did_quietly()
                return []  # The coalition proposes something else.
            case Timeout() if "stale" in vices and random.random() < 0.7:
                genesis = self.simulation.context.genesis_qc
                share = self.simulation.signatures.timeout_share(node.member, message.view, 0)
                return [Timeout(message.view, 0, share, genesis, None)]
            case Vote() | Timeout() | HandoverShare() if "forge" in vices and random.random() < 0.4:
                self._did_quietly()
                return [replace(message, share=self._forged(node.member, message))]
            case ObservationMessage() if "lie" in vices and random.random() < 0.5:
                return [self._false_observation(node.member, message.observed.view)]
            case BlockResponse() if "misinform" in vices:
                return [false_response(self.random, self.knows, message)]
            case CheckpointResponse() if "misinform" in vices:
                self._did_quietly()
                self._old_checkpoint = self._old_checkpoint or message
                old = self._old_checkpoint
                return false_checkpoint(self.random, self.knows, message, old)
            case _:
                return [message]

    def _forged(self, member: int, message: Vote | Timeout | HandoverShare) -> bytes:
        context = self.simulation.context
        match message:
            case Vote(header=header):
                digest = header.id(context.domain)
            case Timeout(view=view, high_qc_view=high):
                digest = timeout_digest(context.domain, view, high)
            case HandoverShare():
                digest = terms_in(context, message).digest
        kind = self.random.randrange(BAD_SHARES)
        return self.simulation.signatures.bad_share(kind, member, digest)

    def _did_quietly(self) -> None:
        self.simulation.faults += 1

    # What it does of its own.

    def _give(self, member: int, to: Node, message: Message, delay_ms: int | None = None) -> None:
        """Send a member's message; the network obeys the coalition."""
        delay = self.random.choice((1, 1, 5, 40)) if delay_ms is None else delay_ms
        if self.simulation.trace is not None:
            what = self.simulation.say(message)
            self.simulation.note(None, f"Byzantine {member} sends {to.member} {what}")
        self.simulation.after(delay, self.simulation.deliver, member, to, message)

    def _some(self, chance: int = 60) -> list[Node]:
        return [node for node in self.simulation.honest if self.random.random() * 100 < chance]

    def _propose(self, view: int) -> None:
        """Propose up to three blocks, each on its own ground, each to some members."""
        leader = self.simulation.context.leader(view)
        count = self.random.choice((1, 1, 2, 3))
        for _ in range(count):
            ground = self._ground(view)
            if ground is None:
                continue
            justify, tc, vice = ground
            block = self.knows.block(view, justify, self._observations(view))
            if block is None or justify.view >= view:
                continue
            self._did(vice)
            if "misdirect" in self.vices and self.random.random() < 1 / 4:
                # Prices where there may be none, or others than were observed.
                block = replace(block, header=replace(block.header, feed_root=b"p" * 32))
            proposal = self._signed(leader, block, tc)
            for node in self._some(90 if count == 1 else 60):
                self._give(leader, node, proposal)
            self._vote(block, chance=80)

    def _signed(self, leader: int, block: Block, tc: TC | None) -> Proposal:
        sign = self.simulation.signatures
        block_id = block.header.id(self.simulation.context.domain)
        signature = sign.proposal_signature(leader, block_id)
        return Proposal(block, tc, sign.share(leader, block_id), signature)

    def _ground(self, view: int) -> tuple[QC, TC | None, str] | None:
        """Choose what a proposal of a view extends."""
        random, knows = self.random, self.knows
        known = knows.certificates(view)
        ways = sorted(self.vices & PROPOSING)
        way = random.choice(ways)
        weakest = knows.weakest_tc(view - 1)
        if way == "stale":
            return None if weakest is None else (weakest.high_qc, weakest, way)
        if way == "equivocate":
            if known[-1].view == view - 1:
                return known[-1], None, way
            return None if weakest is None else (known[-1], weakest, way)
        return (*false_ground(random, knows, self._false_way, view, known, weakest), way)

    def _observations(self, view: int) -> list[Observed]:
        """Choose a quorum's observations, the own ones at will, the others as they suit."""
        mine = [self._false_observed(member, view) for member in self.members]
        honest = self.knows.observed.get(view, {})
        return quorum_of_choice(self.random, mine, honest, self.simulation.context.q)

    def _false_observed(self, member: int, view: int) -> Observed:
        wrong_ms = self.random.choice(WRONG_TIMES_MS)
        time_ms = max(0, self.simulation.now_ms + wrong_ms)
        return self.simulation.signatures.observed(member, view, time_ms)

    def _false_observation(self, member: int, view: int) -> ObservationMessage:
        self._did_quietly()
        return ObservationMessage(self._false_observed(member, view))

    def _vote(self, block: Block, chance: int) -> None:
        if "equivocate" not in self.vices:
            return
        block_id = block.header.id(self.simulation.context.domain)
        for member in self.members:
            vote = Vote(block.header, self.simulation.signatures.share(member, block_id))
            for node in self._some(chance):
                self._give(member, node, vote)

    def _show_certificate(self) -> None:
        """Show one honest member a certificate, perhaps one that nobody has built."""
        known = self.knows.certificates(2**62)
        qc = self.random.choice(known[-3:])
        tc = self.knows.weakest_tc(self._entered - self.random.randrange(2))
        self._did("hide")
        message = CertificateMessage(qc, self.random.choice((None, tc)))
        self._give(self.random.choice(self.members), self._anyone(), message)

    def _anyone(self) -> Node:
        return self.random.choice(self.simulation.honest)

    def _lie(self) -> None:
        self._did("lie")
        for member in self.members:
            for node in self._some():
                view = self._entered + self.random.randrange(-1, 3)
                self._give(member, node, self._false_observation(member, max(0, view)))

    def _speak_of_the_future(self) -> None:
        self._did("future")
        member = self.random.choice(self.members)
        sign = self.simulation.signatures
        view = self.random.choice((self._entered + self.random.randint(1, 9), 2**62, 2**63 - 1))
        header = self._invented_header(view)
        block_id = header.id(self.simulation.context.domain)
        genesis = self.simulation.context.genesis_qc
        share = sign.timeout_share(member, view, 0)
        message = self.random.choice(
            (
                Vote(header, sign.share(member, block_id)),
                Timeout(view, 0, share, genesis, None),
                self._false_observation(member, view),
                self._signed(member, Block(header, 1, bytes(32), b"\x90", genesis), None),
            )
        )
        for node in self._some():
            self._give(member, node, message)

    def _invented_header(self, view: int) -> Header:
        draw = self.random.randbytes
        return Header(view, self.simulation.now_ms, draw(32), draw(32))

    def _spoil(self) -> None:
        if self.knows.recent:
            message = spoilt(self.random, self.random.choice(self.knows.recent))
            if message is not None:
                self._did("garbage")
                self._give(self.random.choice(self.members), self._anyone(), message)

    def _replay(self) -> None:
        """Say again, in one's own name, what others said; or what was said under another D."""
        self._did("replay")
        member = self.random.choice(self.members)
        if self.random.randrange(2) and self.knows.recent:
            self._give(member, self._anyone(), self.random.choice(self.knows.recent))
            return
        setting = self.simulation.setting
        other = elsewhere(self.random, setting.context)
        sign = setting.signatures.under(other)
        header = self._invented_header(self._entered + self.random.randrange(2))
        qc = sign.qc(header, range(other.n))
        tc = sign.tc(header.view, dict.fromkeys(range(other.n), 0), other.genesis_qc)
        share = sign.share(member, header.id(other.domain))
        timeout_share = sign.timeout_share(member, header.view, 0)
        genesis = self.simulation.context.genesis_qc
        message = self.random.choice(
            (
                CertificateMessage(qc, None),
                CertificateMessage(genesis, tc),
                CertificateMessage(genesis, replace(tc, high_qc=genesis)),
                Vote(header, share),
                Timeout(header.view, 0, timeout_share, genesis, None),
                ObservationMessage(sign.observed(member, header.view, self.simulation.now_ms)),
            )
        )
        for node in self._some():
            self._give(member, node, message)

    def _flood(self) -> None:
        """Many different votes for one view, and one message many times."""
        self._did("flood")
        member, node = self.random.choice(self.members), self._anyone()
        for _ in range(10):
            header = self._invented_header(self._entered + self.random.randrange(3))
            block_id = header.id(self.simulation.context.domain)
            vote = Vote(header, self.simulation.signatures.share(member, block_id))
            bad = replace(vote, share=bytes(96))
            self._give(member, node, self.random.choice((vote, vote, bad)), 1)

    def _hand_over_falsely(self) -> None:
        """Send shares on false terms, and a certificate of them that only the coalition signed."""
        self._did("misdirect")
        context, sign = self.simulation.context, self.simulation.signatures
        blocks = sorted(self.knows.after.items(), key=lambda item: item[1][3])[-3:]
        deciding_id, (_, _, at_ms, _) = self.random.choice(blocks)
        approved = [node.change for node in self.simulation.nodes if node.change is not None]
        choices = [self.random.randbytes(32), *(change.configuration_hash for change in approved)]
        terms = terms_of(context, self.random.choice(choices), deciding_id, at_ms)
        place = (terms.configuration_hash, terms.deciding_id, terms.observed_at_ms)
        for member in self.members:
            share = HandoverShare(*place, sign.share(member, terms.digest))
            for node in self._some():
                self._give(member, node, share)
        bitmap = bitmap_of(self.random.choice((self.members, range(context.q), range(context.n))))
        certificate = HandoverCertificate(*place, bitmap, sign.share(self.members[0], terms.digest))
        self._give(self.members[0], self._anyone(), certificate)

    def _time_out_twice(self) -> None:
        """Report different certificates to different members; hasten or hold up a view's end."""
        self._did("equivocate")
        view = self._entered + self.random.randrange(2)
        known = self.knows.certificates(view)
        for member in self.members:
            for node in self._some():
                qc = self.random.choice(known) if known else self.simulation.context.genesis_qc
                share = self.simulation.signatures.timeout_share(member, view, qc.view)
                self._give(member, node, Timeout(view, qc.view, share, qc, None))

    def _jams(self, node: Node, to: Node, message: Message) -> bool:
        """Keep the votes of the view before ours, or its timeouts, from most members."""
        match message:
            case Vote(header=header):
                view = header.view
            case _:
                return False
        faulty = self.simulation.faulty
        if self.simulation.context.leader(view + 1) not in faulty or to.member in faulty:
            return False
        # By view and seed, so that one member or none gets a quorum of them.
        lucky = (view * 7 + self.simulation.seed) % (2 * self.simulation.context.n)
        return to.member != lucky and (view + self.simulation.seed) % 3 != 0


__all__ = ["VICES", "Coalition"]
