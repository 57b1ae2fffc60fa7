"""The state machine of one member in one epoch: events in, effects out (README.md).

Pipelined two-chain HotStuff with Jolteon's rules. Every handler first checks, then applies: a
peer's fault raises `InvalidMessage` before anything changes, stale and repeated messages return no
effects. Time comes in as `now_ms` (Unix ms of the member's own clock). Certificates, signatures of
proposals and of observations were verified by the shell before a message gets here; shares of votes
and timeouts were not, their senders are known from the channel.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from consensus import effects as fx
from consensus import rules
from consensus.blocktree import BlockTree, Node
from consensus.checkpoint import (
    FAR_BLOCKS,
    CheckpointSearch,
    check_checkpoint,
    make_checkpoint,
)
from consensus.collectors import TimeoutCollector, VoteCollector
from consensus.committee import EpochContext
from consensus.errors import InvalidMessage, InvalidPayload
from consensus.evidence import link_of
from consensus.fetch import Fetcher, Want
from consensus.handover import ShareCollector, Terms, check_certificate, terms_of
from consensus.messages import (
    BLOCKS_PER_RESPONSE_MAX,
    PAYLOAD_BYTES_MAX,
    QC,
    TC,
    Block,
    BlockRequest,
    BlockResponse,
    Certificate,
    Change,
    CheckpointRequest,
    CheckpointResponse,
    HandoverCertificate,
    HandoverShare,
    Header,
    Observed,
    Proposal,
    Testimony,
    Timeout,
    Vote,
    Witnessed,
)
from consensus.pacemaker import Pacemaker
from consensus.payload import Outcome, PayloadRule, State
from consensus.safety import SafetyState
from consensus.witness import Witness

SMALL_COMMITTEE_MAX = 10
"""Up to this size votes and observations go to everyone, beyond it to the collectors only."""

WINDOW_AHEAD = 2
"""Messages for views further ahead than this are not kept."""

RESPONSE_BYTES_MAX = 1 << 19
WAITING_QCS_MAX = 64
CHECKPOINTS_ASKED_FIRST = 3
"""So often is a checkpoint asked for before a long gap is filled block by block all the same."""

RECENTLY_HEARD_VIEWS = 8
"""A leader waits its grace only for members it heard from in this many views."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The last final block of a member and the agreed state after it; or an epoch's genesis.

    With a `successor`, the hash of the next configuration, it is the block that decided that.
    """

    block_id: bytes
    view: int
    height: int
    observed_at_ms: int
    state: State
    block: Block | None = None
    successor: bytes | None = None


def genesis_safety(context: EpochContext) -> SafetyState:
    """Return the safety state of a member that never took part in this epoch."""
    return SafetyState(
        domain=context.domain,
        last_voted_view=0,
        last_vote=None,
        last_timeout=None,
        last_proposed_view=0,
        high_qc=context.genesis_qc,
        high_tc=None,
    )


def genesis_checkpoint(context: EpochContext, state: State) -> Checkpoint:
    """Return the root of a fresh epoch."""
    return Checkpoint(context.genesis_id, 0, 0, context.genesis_time_ms, state)


class Core:
    """One member's consensus. Not thread-safe; its owner calls one handler at a time."""

    def __init__(
        self,
        context: EpochContext,
        me: int,
        rule: PayloadRule,
        safety: SafetyState,
        root: Checkpoint,
    ) -> None:
        assert 0 <= me < context.n
        if safety.domain != context.domain:
            raise ValueError("this safety state belongs to another network or epoch")
        self._context = context
        self._me = me
        self._rule = rule
        self._safety = safety
        self._dirty = False
        self._tree = BlockTree(
            Node(
                root.block_id,
                bytes(32),
                root.block,
                root.view,
                root.height,
                root.observed_at_ms,
                root.state,
                certified=True,
                successor=root.successor,
            )
        )
        self._pacemaker = Pacemaker(context.configuration.timing.base_timeout_ms)
        self._leading = False
        """Whether the current view is one that this member leads."""
        self._votes = VoteCollector(context.q)
        self._timeouts = TimeoutCollector(context.q)
        self._witness = Witness(context, self._votes, self._timeouts)
        self._fetcher = Fetcher(context, me, rule)
        self._search = CheckpointSearch(context, me)
        self._final_qc: QC | None = None
        """What made the last final block final, once it is known in this life."""
        self._checkpoint: tuple[bytes, CheckpointResponse] | None = None
        """The id of the last final block, and how others are shown it, once one has asked."""
        self._observations: dict[int, dict[int, Observed]] = {}
        self._last_heard: dict[int, int] = {}
        self._adopted: Header | None = None
        """The header of the last certificate that was taken over and whose block is here, so that
        all that follows from it was done."""
        self._pending: Proposal | None = None
        self._waiting_qcs: dict[bytes, QC] = {}
        self._observe_asked = 0
        self._grace_asked = 0
        self._grace_over = 0
        self._halted = False
        self._everyone = tuple(range(context.n))
        self._change: Change | None = None
        self._handover = ShareCollector(context.q)
        self._terms: Terms | None = None
        self._handed_over: HandoverCertificate | None = None

    # What the shell may look at.

    @property
    def view(self) -> int:
        """The current view."""
        return self._pacemaker.view

    @property
    def safety(self) -> SafetyState:
        """The safety state as it is now; durable once the last `Persist` is."""
        return self._safety

    @property
    def high_qc(self) -> QC:
        """The certificate of the highest view known."""
        return self._safety.high_qc

    @property
    def root(self) -> Node:
        """The last final block."""
        return self._tree.root

    @property
    def height_wanted(self) -> int | None:
        """The height of the highest certified block that is being looked for, once it is known."""
        return max((want.height for want in self._fetcher.all() if want.height), default=None)

    @property
    def witness(self) -> Witness:
        """What this member has seen signed."""
        return self._witness

    def node(self, block_id: bytes) -> Node | None:
        """Return a block above the last final one, or that one."""
        return self._tree.get(block_id)

    # Events.

    def start(
        self, stored: Iterable[Block], now_ms: int, witnessed: Iterable[Witnessed] = ()
    ) -> list[fx.Effect]:
        """Take up the stored blocks above the root, then enter the first view not yet decided.

        `witnessed` is what `KeepWitnessed` kept. What it proves is told again: a crash may have
        come before anybody heard of it.
        """
        out: list[fx.Effect] = []
        for record in witnessed:
            found = self._witness.take(record)
            out += [effect for effect in found if isinstance(effect, fx.Accusation)]
        for block in sorted(stored, key=lambda block: block.view):
            parent = self._tree.get(self._context.id_of(block.justify))
            block_id = block.header.id(self._context.domain)
            if parent is None or self._tree.get(block_id) is not None:
                continue
            try:
                node = self._judge(block, block_id, parent)
            except InvalidMessage:
                continue
            self._tree.add(node)
            assert node.link is not None
            out += self._witness.block(block_id, block.header, node.link)
            out += self._witness.qc(block.justify)
            self._show_final(parent, block.justify)
        safety = self._safety
        out += self._saw(safety.high_qc, safety.high_tc)
        if safety.closing_qc is not None:
            self._final_qc = safety.closing_qc
        qc_view = safety.high_qc.view
        tc_view = safety.high_tc.view if safety.high_tc is not None else 0
        self._note_qc(safety.high_qc, now_ms, out)
        self._enter(max(qc_view, tc_view) + 1, tc_view > qc_view, now_ms, out)
        if safety.closed and self._tree.root.successor is not None:
            self._end(out)
        elif self._needs_checkpoint(now_ms):
            self._seek(out)
        vote = safety.last_vote
        if vote is not None and rules.may_repeat_vote(self._safety, self.view, vote):
            # The crash may have swallowed it; the bytes are the same as before.
            out.append(self._send_vote(vote))
        return out

    def on_observation(self, sender: int, observed: Observed, now_ms: int) -> list[fx.Effect]:
        """Keep a member's observation; propose when there are enough."""
        if observed.member != sender:
            raise InvalidMessage("an observation in another member's name")
        self._rule.check(observed)
        view, current = observed.view, self._pacemaker.view
        if self._safety.closed or not current <= view <= current + WINDOW_AHEAD:
            return []
        self._heard(sender, view)
        # The newest counts: a member observes once more after a timeout.
        self._observations.setdefault(view, {})[sender] = observed
        out: list[fx.Effect] = []
        if view == current:
            self._try_propose(now_ms, out)
        return out

    def on_grace(self, view: int, now_ms: int) -> list[fx.Effect]:
        """Stop waiting for more observations than a quorum."""
        self._grace_over = max(self._grace_over, view)
        out: list[fx.Effect] = []
        self._try_propose(now_ms, out)
        return out

    def on_proposal(self, sender: int, proposal: Proposal, now_ms: int) -> list[fx.Effect]:
        """Take over a proposal's certificates, then vote for its block if that is safe."""
        rules.check_proposal(self._context, sender, proposal)
        if self._safety.closed:
            return self._saw(proposal.block.justify, proposal.tc)
        block = proposal.block
        block_id = block.header.id(self._context.domain)
        parent = self._tree.get(self._context.id_of(block.justify))
        node = self._tree.get(block_id)
        if node is None and parent is not None and block.view > self._tree.root.view:
            node = self._judge(block, block_id, parent)
        out: list[fx.Effect] = []
        self._heard(sender, block.view)
        if proposal.tc is not None:
            self._adopt_tc(proposal.tc, now_ms, out)
        self._adopt_qc(block.justify, now_ms, out)
        self._take_vote(sender, block.header, block_id, proposal.vote, out)
        if node is None:
            if block.view == self.view and self._pending is None:
                self._pending = proposal
            return out
        if self._tree.get(node.parent_id) is None:
            return out  # What was just adopted made a later block final.
        first = self._tree.first_of_view(block.view)
        if first is None or block_id in self._fetcher or block_id in self._waiting_qcs:
            self._insert(node, now_ms, out)
        if self._tree.get(block_id) is not None:
            self._try_vote(block, block_id, now_ms, out)
        self._resume(now_ms, out)
        return out

    def on_vote(self, sender: int, vote: Vote, now_ms: int) -> list[fx.Effect]:
        """Count a vote; hand out a quorum for certification."""
        header = vote.header
        if header.view < 1:
            return []
        out: list[fx.Effect] = []
        if not self._safety.closed and self._is_in_window(header.view):
            self._heard(sender, header.view)
        self._take_vote(sender, header, header.id(self._context.domain), vote.share, out)
        return out

    def on_certificate(self, qc: QC, now_ms: int) -> list[fx.Effect]:
        """Take over a certificate made of collected votes; a collector hands it on."""
        rules.check_qc(self._context, qc)
        if self._safety.closed:
            return self._saw(qc, None)
        out: list[fx.Effect] = []
        new = qc.view > self._safety.high_qc.view
        self._adopt_qc(qc, now_ms, out)
        collector = self._context.leader(qc.view) == self._me
        if new and collector and self._context.n > SMALL_COMMITTEE_MAX:
            out.append(fx.SendCertificate(Certificate(qc, None)))
        return out

    def on_bad_shares(self, header: Header, signers: Iterable[int], now_ms: int) -> list[fx.Effect]:
        """Strike out bad votes and try again with the others."""
        block_id = header.id(self._context.domain)
        self._votes.reject(header.view, block_id, signers)
        out: list[fx.Effect] = []
        self._try_certify(header, block_id, out)
        return out

    def on_timer(self, view: int, now_ms: int) -> list[fx.Effect]:
        """Leave hope for the current view: sign its timeout once, repeat it until left."""
        out: list[fx.Effect] = []
        if view == self.view:
            self._time_out(now_ms, out)
        return out

    def on_timeout(self, sender: int, timeout: Timeout, now_ms: int) -> list[fx.Effect]:
        """Take over the certificates beside a timeout, whatever its view, then count it."""
        rules.check_qc(self._context, timeout.qc)
        if timeout.tc is not None:
            rules.check_tc(self._context, timeout.tc)
        view, high_qc_view, share = timeout.view, timeout.high_qc_view, timeout.share
        if not high_qc_view < view:
            raise InvalidMessage("a timeout that reports a certificate of its own view or later")
        if timeout.qc.header.view < high_qc_view:
            raise InvalidMessage("a timeout without the certificate that it reports")
        out: list[fx.Effect] = []
        closing_qc = self._safety.closing_qc
        if closing_qc is not None:
            out += self._saw(timeout.qc, timeout.tc)
            out += self._witness.timeout(sender, view, high_qc_view, share, timely=False)
            # Alone it cannot go on, and those who have left no longer time out with it.
            out.append(fx.SendClosingQC(Certificate(closing_qc, None), sender))
            return out
        self._heard(sender, timeout.view)
        self._adopt_qc(timeout.qc, now_ms, out)
        if timeout.tc is not None:
            self._adopt_tc(timeout.tc, now_ms, out)
        timely = self.view <= view <= self.view + WINDOW_AHEAD
        out += self._witness.timeout(sender, view, high_qc_view, share, timely=timely)
        if not timely:
            return out
        earlier = self._timeouts.add(sender, view, high_qc_view, share)
        if earlier is not None:
            first = (earlier.high_qc_view, earlier.share)
            out += self._witness.two_timeouts(sender, view, first, (high_qc_view, share))
        self._count_timeouts(view, now_ms, out)
        return out

    def on_timeout_certificate(self, tc: TC, now_ms: int) -> list[fx.Effect]:
        """Take over a TC made of collected timeouts and hand it on."""
        rules.check_tc(self._context, tc)
        out: list[fx.Effect] = []
        out += self._witness.tc(tc)
        if tc.view >= self.view and not self._safety.closed:
            self._adopt_tc(tc, now_ms, out)
            out.append(fx.SendCertificate(Certificate(self._safety.high_qc, tc)))
        return out

    def on_bad_timeout_shares(
        self, view: int, signers: Iterable[int], now_ms: int
    ) -> list[fx.Effect]:
        """Strike out bad timeouts and try again with the others."""
        self._timeouts.reject(view, signers)
        out: list[fx.Effect] = []
        self._count_timeouts(view, now_ms, out)
        return out

    def on_certificate_message(
        self, sender: int, message: Certificate, now_ms: int
    ) -> list[fx.Effect]:
        """Take over certificates that a member hands on."""
        rules.check_qc(self._context, message.qc)
        if message.tc is not None:
            rules.check_tc(self._context, message.tc)
        if self._safety.closed:
            return self._saw(message.qc, message.tc)
        out: list[fx.Effect] = []
        self._adopt_qc(message.qc, now_ms, out)
        if message.tc is not None:
            self._adopt_tc(message.tc, now_ms, out)
        return out

    def on_block_request(self, sender: int, request: BlockRequest, now_ms: int) -> list[fx.Effect]:
        """Answer with the blocks asked for, newest first; from the store if they are final."""
        if self._tree.get(request.block_id) is None:
            return [fx.LoadBlocks(request, sender)]
        blocks: list[Block] = []
        size = 0
        for node in self._tree.down_from(request.block_id):
            full = len(blocks) >= BLOCKS_PER_RESPONSE_MAX or size >= RESPONSE_BYTES_MAX
            if node.block is None or node.view <= request.known_view or full:
                break
            if blocks and size + len(node.block.payload) > RESPONSE_BYTES_MAX:
                break
            blocks.append(node.block)
            size += len(node.block.payload) + 1024
        return [fx.SendResponse(BlockResponse(request.block_id, tuple(blocks)), sender)]

    def on_block_response(
        self, sender: int, response: BlockResponse, now_ms: int
    ) -> list[fx.Effect]:
        """Extend a missing chain; insert it once it reaches a known block."""
        want = self._want_awaiting(sender, response)
        if want is None or not response.blocks or self._safety.closed:
            return []
        links = self._fetcher.extend(want, response.blocks, now_ms)
        out: list[fx.Effect] = []
        for block, (block_id, link) in zip(response.blocks, links, strict=True):
            out += self._witness.block(block_id, block.header, link)
            out += self._witness.qc(block.justify)
        self._follow(want, now_ms, out)
        self._resume(now_ms, out)
        return out

    def on_testimony(self, sender: int, testimony: Testimony, now_ms: int) -> list[fx.Effect]:
        """Look at what a member saw that met a fork; nothing of it is taken over."""
        for record in testimony.records:
            if (record.qc is None) != (record.link is None) or (record.qc is None) == (
                record.tc is None
            ):
                raise InvalidMessage("a testimony with a record that is neither a QC nor a TC")
            if record.qc is not None and record.link is not None:
                rules.check_qc(self._context, record.qc)
                if record.qc.header.link != record.link.digest:
                    raise InvalidMessage("a testimony with a link that the header does not show")
            if record.tc is not None:
                rules.check_tc(self._context, record.tc)
        out: list[fx.Effect] = []
        for record in testimony.records:
            out += self._witness.take(record)
        return out

    def on_fetch_timer(self, block_id: bytes, now_ms: int) -> list[fx.Effect]:
        """Ask for a block that is still missing, other signers at each attempt."""
        out: list[fx.Effect] = []
        want = self._fetcher.get(block_id)
        if self._safety.closed:
            return out
        if want is not None:
            self._follow(want, now_ms, out)
            self._resume(now_ms, out)
        if block_id in self._fetcher:
            duration_ms = self._context.configuration.timing.base_timeout_ms
            out.append(fx.SetFetchTimer(block_id, duration_ms))
        return out

    # A gap that is too long, or that nobody can fill.

    def on_checkpoint_request(
        self, sender: int, request: CheckpointRequest, now_ms: int
    ) -> list[fx.Effect]:
        """Show a member that is behind the last final block; stay silent if it is as far."""
        root = self._tree.root
        if root.view <= request.known_view or self._final_qc is None:
            return []
        if not self._search.may_answer(sender, now_ms):
            return []
        if self._checkpoint is None or self._checkpoint[0] != root.block_id:
            certified = self._tree.get(self._context.id_of(self._final_qc))
            if certified is None:
                return []
            above = self._tree.path_to(certified.block_id)
            made = make_checkpoint(self._context, self._rule, root, above, self._final_qc)
            if made is None:
                return []
            self._checkpoint = (root.block_id, made)
        return [fx.SendResponse(self._checkpoint[1], sender)]

    def awaits_checkpoint(self, sender: int) -> bool:
        """Tell whether a checkpoint was asked for, so that others need not even be verified."""
        return self._search.awaits(sender)

    def on_checkpoint_response(
        self, sender: int, response: CheckpointResponse, now_ms: int
    ) -> list[fx.Effect]:
        """Go on from a later final block; what lies between is skipped.

        Neither votes nor timeouts are forgotten: only the root moves, and only forwards.
        """
        if not self._search.awaits(sender):
            return []
        node = check_checkpoint(self._context, self._rule, response)
        self._search.take(sender)
        out: list[fx.Effect] = []
        out += self._witness.qc(response.qc)
        root = self._tree.root
        if self._halted or node.view <= root.view:
            return out
        if self._tree.get(node.block_id) is not None:
            if not self._safety.closed:
                self._adopt_qc(response.qc, now_ms, out)
                self._resume(now_ms, out)
            return out
        if node.height <= root.height or root.successor is not None:
            self._testify(response.qc.view, out)
            self._halt("a final block does not extend the last final one", out)
            return out
        self._begin_from(node, response, now_ms, out)
        if node.successor is None and not self._safety.closed:
            self._note_qc(response.qc, now_ms, out)
            self._enter(response.qc.view + 1, False, now_ms, out)
            for want in self._fetcher.all():
                self._request(want, now_ms, out)
            self._resume(now_ms, out)
        return out

    def on_checkpoint_timer(self, now_ms: int) -> list[fx.Effect]:
        """Ask others for a checkpoint while one is needed."""
        out: list[fx.Effect] = []
        if self._needs_checkpoint(now_ms):
            self._ask_checkpoint(out)
        else:
            self._search.end()
        return out

    def _needs_checkpoint(self, now_ms: int) -> bool:
        if self._safety.closed:
            # The blocks are lost, the deciding one with them, and nothing else can be signed.
            return self._tree.root.successor is None
        return self._fetcher.is_stuck(now_ms) or any(map(self._is_far, self._fetcher.all()))

    def _is_far(self, want: Want) -> bool:
        return want.lowest is not None and want.lowest > self._tree.root.height + FAR_BLOCKS

    def _seek(self, out: list[fx.Effect]) -> None:
        if not self._search.is_open:
            self._search.begin()
            self._ask_checkpoint(out)

    def _ask_checkpoint(self, out: list[fx.Effect]) -> None:
        to = self._search.ask(self._safety.high_qc)
        if to:
            out.append(fx.SendRequest(CheckpointRequest(self._tree.root.view), to))
        out.append(fx.SetCheckpointTimer(self._context.configuration.timing.base_timeout_ms))

    def _begin_from(
        self, node: Node, response: CheckpointResponse, now_ms: int, out: list[fx.Effect]
    ) -> None:
        """Make a checked checkpoint the last final block, durably before anything rests on it."""
        root, qc = self._tree.root, response.qc
        assert node.block is not None
        self._tree.replant(node)
        self._final_qc = qc
        self._checkpoint = (node.block_id, response)
        self._fetcher.drop_below(node.view)
        self._fetcher.begin_anew(now_ms)
        self._forget_waiting(node.view)
        out.append(
            fx.StoreCheckpoint(
                node.block_id,
                node.block,
                node.state,
                node.successor,
                root.block_id,
                root.view,
                root.height,
                root.state,
            )
        )
        self._dirty = True
        if qc.view > self._safety.high_qc.view:
            self._set(high_qc=qc)
        if node.successor is not None and not self._safety.closed:
            self._close(qc, out)
            return
        self._persist(out)
        if node.successor is not None:
            self._end(out)

    # The end of the epoch.

    def on_change(self, change: Change) -> None:
        """Propose a next epoch, which a quorum approved, with the next block of our own."""
        self._change = change

    def on_handover_share(self, sender: int, share: HandoverShare, now_ms: int) -> list[fx.Effect]:
        """Count a share on the end of the epoch; it may come before our own commit."""
        out: list[fx.Effect] = []
        if self._handed_over is not None:
            if sender != self._me:
                out.append(fx.SendHandoverCertificate(self._handed_over, sender))
            return out
        self._handover.add(sender, share)
        self._try_certify_handover(out)
        return out

    def on_bad_handover_shares(self, signers: Iterable[int], now_ms: int) -> list[fx.Effect]:
        """Strike out bad shares and try again with the others."""
        self._handover.reject(signers)
        out: list[fx.Effect] = []
        self._try_certify_handover(out)
        return out

    def on_handover_certificate(
        self, certificate: HandoverCertificate, now_ms: int
    ) -> list[fx.Effect]:
        """Leave the epoch, if it is closed; whoever did not close it yet goes by a checkpoint."""
        check_certificate(self._context, certificate)
        terms = self._terms
        if terms is None or self._handed_over is not None:
            return []
        if not terms.covers(certificate):
            out: list[fx.Effect] = []
            self._halt("a quorum handed over to another epoch than the one decided", out)
            return out
        self._handed_over = certificate
        return [fx.HandedOver(terms, certificate)]

    def _close(self, qc: QC, out: list[fx.Effect]) -> None:
        """Close the epoch for good: its deciding block, now the root, is final."""
        self._set(closed=True, closing_qc=qc)
        self._final_qc = qc
        self._persist(out)
        self._end(out)

    def _end(self, out: list[fx.Effect]) -> None:
        root = self._tree.root
        assert root.successor is not None
        self._terms = terms_of(self._context, root.successor, root.block_id, root.observed_at_ms)
        self._send_handover_share(out)
        self._try_certify_handover(out)

    def _send_handover_share(self, out: list[fx.Effect]) -> None:
        """Sign the end of the epoch, and again until a certificate has come of it."""
        assert self._safety.closed
        if self._terms is not None and self._handed_over is None:
            out.append(fx.SendHandoverShare(self._terms))
            out.append(fx.SetTimer(self.view, self._pacemaker.timeout_ms()))

    def _try_certify_handover(self, out: list[fx.Effect]) -> None:
        if self._terms is not None and self._handed_over is None:
            shares = self._handover.take_quorum(self._terms)
            if shares is not None:
                out.append(fx.CertifyHandover(self._terms, shares))

    # Certificates.

    def _saw(self, qc: QC, tc: TC | None) -> list[fx.Effect]:
        """Look at certificates for what they prove, and take nothing over."""
        out: list[fx.Effect] = []
        out += self._witness.qc(qc)
        if tc is not None:
            out += self._witness.qc(tc.high_qc)
            out += self._witness.tc(tc)
        return out

    def _adopt_qc(self, qc: QC, now_ms: int, out: list[fx.Effect]) -> None:
        header = qc.header
        if header == self._adopted:
            return  # Most messages of a view bring the same one.
        view = header.view
        out += self._witness.qc(qc)
        if view > self._safety.high_qc.header.view:
            self._set(high_qc=qc)
        self._note_qc(qc, now_ms, out)
        if view >= self._pacemaker.view:
            self._enter(view + 1, False, now_ms, out)
        if self._tree.get(self._context.id_of(qc)) is not None:
            self._adopted = header

    def _adopt_tc(self, tc: TC, now_ms: int, out: list[fx.Effect]) -> None:
        out += self._witness.tc(tc)
        self._adopt_qc(tc.high_qc, now_ms, out)
        high_tc = self._safety.high_tc
        if tc.view >= self._pacemaker.view and (high_tc is None or tc.view > high_tc.view):
            self._set(high_tc=tc)
            self._enter(tc.view + 1, True, now_ms, out)

    def _note_qc(self, qc: QC, now_ms: int, out: list[fx.Effect]) -> None:
        """Mark a certificate's block and commit what it makes final, or look for the block."""
        if qc.header.view <= self._tree.root.view:
            return
        block_id = self._context.id_of(qc)
        node = self._tree.get(block_id)
        if node is None:
            self._waiting_qcs[block_id] = qc
            if len(self._waiting_qcs) > WAITING_QCS_MAX:
                del self._waiting_qcs[min(self._waiting_qcs, key=self._waiting_view)]
            if self._fetcher.want(qc, now_ms) is not None:
                # The proposal is probably on its way.
                duration_ms = self._context.configuration.timing.grace_ms
                out.append(fx.SetFetchTimer(block_id, duration_ms))
            return
        self._waiting_qcs.pop(block_id, None)
        if not node.certified:
            node.certified = True
            assert node.block is not None
            out.append(fx.Certified(block_id, node.block, qc, node.state))
        self._commit(node, qc, out)

    def _waiting_view(self, block_id: bytes) -> int:
        return self._waiting_qcs[block_id].view

    def _commit(self, node: Node, qc: QC, out: list[fx.Effect]) -> None:
        root = self._tree.root
        if node.parent_id == root.block_id and root.successor is None:
            if self._final_qc is None:
                self._show_final(node, qc)
            return  # The parent is final already.
        if self._safety.closed or node.block is None or not rules.commits_parent(node.block):
            return
        if root.successor is not None:
            # A crash came between the commit of the deciding block and the close of the epoch.
            self._close(qc, out)
            return
        parent = self._tree.get(node.parent_id)
        if parent is None or parent.view <= root.view:
            return
        for final in self._tree.path_to(parent.block_id):
            assert final.block is not None
            final.certified = True
            out.append(fx.Committed(final.block_id, final.block, final.state, final.successor))
            if final.successor is not None:
                parent = final  # Nothing counts in this epoch after the block that ends it.
                break
        self._tree.reroot(parent.block_id)
        self._final_qc = qc
        self._fetcher.drop_below(parent.view)
        self._forget_waiting(parent.view)
        if parent.successor is not None:
            self._close(qc, out)

    def _show_final(self, node: Node, qc: QC) -> None:
        """Note what made the last final block final, if a certificate of its child does."""
        is_child = node.parent_id == self._tree.root.block_id
        if is_child and node.block is not None and rules.commits_parent(node.block):
            self._final_qc = qc

    def _forget_waiting(self, view: int) -> None:
        for block_id in [b for b, w in self._waiting_qcs.items() if w.view <= view]:
            del self._waiting_qcs[block_id]

    # Views.

    def _enter(self, view: int, by_timeout: bool, now_ms: int, out: list[fx.Effect]) -> None:
        if not self._pacemaker.enter(view, by_timeout):
            return
        self._leading = self._context.leader(view) == self._me
        self._votes.drop_below(view - 1)
        self._timeouts.drop_below(view - 1)
        for old in [v for v in self._observations if v < view - 1]:
            del self._observations[old]
        if self._pending is not None and self._pending.block.view < view:
            self._pending = None
        out.append(fx.EnteredView(view, by_timeout))
        out.append(fx.SetTimer(view, self._pacemaker.timeout_ms()))
        if by_timeout:
            self._observe(view, now_ms, out)
        else:
            self._observe_next(view, self._safety.high_qc.header.observed_at_ms, out)
        self._count_timeouts(view, now_ms, out)
        self._try_propose(now_ms, out)

    def _observe_next(self, view: int, parent_time_ms: int, out: list[fx.Effect]) -> None:
        """Ask for the observation of a view unless that was done."""
        if view > self._observe_asked:
            interval_ms = self._context.configuration.timing.round_interval_ms
            self._observe(view, parent_time_ms + interval_ms, out)

    def _observe(self, view: int, not_before_ms: int, out: list[fx.Effect]) -> None:
        if self._safety.closed:
            return
        self._observe_asked = max(self._observe_asked, view)
        small = self._context.n <= SMALL_COMMITTEE_MAX
        to = self._everyone if small else (self._context.leader(view),)
        out.append(fx.Observe(view, not_before_ms, to))

    # Proposing and voting.

    def _try_propose(self, now_ms: int, out: list[fx.Effect]) -> None:
        if not self._leading:
            return
        view = self._pacemaker.view
        safety = self._safety
        if (
            self._halted
            or safety.closed
            or safety.last_proposed_view >= view
            or safety.last_voted_view >= view
        ):
            return
        tc = None
        if safety.high_qc.view != view - 1:
            tc = safety.high_tc
            if tc is None or tc.view != view - 1:
                return
        observed = self._observations.get(view, {})
        if len(observed) < self._context.q:
            return
        late = [
            member
            for member in self._everyone
            if member not in observed
            and self._last_heard.get(member, 0) + RECENTLY_HEARD_VIEWS >= view
        ]
        if late and self._grace_over < view:
            if self._grace_asked < view:
                self._grace_asked = view
                duration_ms = self._context.configuration.timing.grace_ms
                out.append(fx.SetGraceTimer(view, duration_ms))
            return
        parent = self._tree.get(self._context.id_of(safety.high_qc))
        if parent is None:
            return  # It is being fetched, see _note_qc.
        ordered = [observed[member] for member in sorted(observed)]
        payload, outcome = self._content(parent, view, ordered)
        if not rules.is_timely(self._context, outcome.observed_at_ms, now_ms):
            return  # Nobody with a clock like ours would vote for it, we neither.
        block = self._build(view, parent, payload, outcome)
        block_id = block.header.id(self._context.domain)
        self._set(last_proposed_view=view, last_voted_view=view, last_vote=block.header)
        self._insert(self._node(block, block_id, parent, outcome), now_ms, out)
        self._persist(out)
        if self._safety.closed:
            return
        out.append(fx.SendProposal(block, block_id, tc))
        self._observe_next(view + 1, block.header.observed_at_ms, out)

    def _content(self, parent: Node, view: int, observed: list[Observed]) -> tuple[bytes, Outcome]:
        """Return the payload of a block of our own, with the change that waits, if it may."""
        if self._change is not None and parent.successor is None:
            payload = self._rule.build(view, observed, self._change)
            try:
                if len(payload) > PAYLOAD_BYTES_MAX:
                    raise InvalidPayload("a payload that is too long with the change in it")
                return payload, self._rule.apply(parent.state, parent.observed_at_ms, view, payload)
            except InvalidPayload:
                # It could be proposed once and can no longer, such as when it came too late.
                self._change = None
        payload = self._rule.build(view, observed)
        return payload, self._rule.apply(parent.state, parent.observed_at_ms, view, payload)

    def _build(self, view: int, parent: Node, payload: bytes, outcome: Outcome) -> Block:
        justify = self._safety.high_qc
        height = parent.height + 1
        unlinked = Block(
            Header(view, outcome.observed_at_ms, outcome.feed_root, bytes(32)),
            height,
            outcome.state_digest,
            payload,
            justify,
        )
        link = unlinked.link_with(parent.block_id, outcome.payload_digest)
        header = msgspec.structs.replace(unlinked.header, link=link)
        return msgspec.structs.replace(unlinked, header=header)

    def _judge(self, block: Block, block_id: bytes, parent: Node) -> Node:
        """Recompute a block from its parent's state; raise `InvalidMessage` if it differs."""
        if block.height != parent.height + 1:
            raise InvalidMessage("a block whose height does not follow its parent's")
        outcome = self._rule.apply(parent.state, parent.observed_at_ms, block.view, block.payload)
        header = block.header
        same = (
            header.observed_at_ms == outcome.observed_at_ms
            and header.feed_root == outcome.feed_root
            and block.state_digest == outcome.state_digest
            and header.link == block.link_with(parent.block_id, outcome.payload_digest)
        )
        if not same:
            raise InvalidPayload("a block that is not what follows from its observations")
        return self._node(block, block_id, parent, outcome)

    def _node(self, block: Block, block_id: bytes, parent: Node, outcome: Outcome) -> Node:
        return Node(
            block_id,
            parent.block_id,
            block,
            block.view,
            block.height,
            block.header.observed_at_ms,
            outcome.state,
            link=link_of(block, parent.block_id, outcome.payload_digest),
            successor=outcome.successor,
        )

    def _insert(self, node: Node, now_ms: int, out: list[fx.Effect]) -> None:
        """Add a judged block, and do what a certificate that came before it demands."""
        if self._tree.get(node.block_id) is not None:
            return
        assert node.block is not None
        assert node.link is not None
        self._tree.add(node)
        out += self._witness.block(node.block_id, node.block.header, node.link)
        self._fetcher.drop(node.block_id)
        out.append(fx.StoreBlock(node.block_id, node.block))
        tip = self._context.id_of(self._safety.high_qc)
        self._tree.prune((tip, node.block_id))
        qc = self._waiting_qcs.get(node.block_id)
        if qc is not None:
            self._note_qc(qc, now_ms, out)

    def _try_vote(self, block: Block, block_id: bytes, now_ms: int, out: list[fx.Effect]) -> None:
        timely = rules.is_timely(self._context, block.header.observed_at_ms, now_ms)
        if self._halted or not timely or not rules.may_vote(self._safety, self.view, block):
            return
        self._set(last_voted_view=block.view, last_vote=block.header)
        self._persist(out)
        out.append(self._send_vote(block.header))
        self._observe_next(block.view + 1, block.header.observed_at_ms, out)

    def _send_vote(self, header: Header) -> fx.SendVote:
        leader = self._context.leader
        small = self._context.n <= SMALL_COMMITTEE_MAX
        collectors = {leader(header.view), leader(header.view + 1)}
        to = self._everyone if small else tuple(sorted(collectors))
        return fx.SendVote(header, header.id(self._context.domain), to)

    def _take_vote(
        self, signer: int, header: Header, block_id: bytes, share: bytes, out: list[fx.Effect]
    ) -> None:
        timely = not self._safety.closed and self._is_in_window(header.view)
        out += self._witness.vote(signer, header, block_id, share, timely=timely)
        if not timely:
            return
        earlier = self._votes.add(signer, header, block_id, share)
        if earlier is not None:
            first = (earlier.header, earlier.share)
            out += self._witness.two_votes(signer, first, (header, share))
            return
        self._try_certify(header, block_id, out)

    def _is_in_window(self, view: int) -> bool:
        current = self._pacemaker.view
        return current - 1 <= view <= current + WINDOW_AHEAD

    def _try_certify(self, header: Header, block_id: bytes, out: list[fx.Effect]) -> None:
        if header.view <= self._safety.high_qc.view:
            return
        shares = self._votes.take_quorum(header.view, block_id)
        if shares is not None:
            out.append(fx.CertifyVotes(header, block_id, shares))

    # Timeouts.

    def _time_out(self, now_ms: int, out: list[fx.Effect]) -> None:
        view = self.view
        safety = self._safety
        if safety.closed:
            self._send_handover_share(out)
        if self._halted or safety.closed:
            return
        last = safety.last_timeout
        if last is None or last[0] != view:
            last = (view, safety.high_qc.view)
            self._set(last_voted_view=max(safety.last_voted_view, view), last_timeout=last)
            # What was observed for the next view is older than this timeout.
            self._observations.pop(view + 1, None)
        self._persist(out)
        safety = self._safety
        tc = safety.high_tc
        if tc is not None and tc.view <= safety.high_qc.view:
            tc = None
        out.append(fx.SendTimeout(view, last[1], safety.high_qc, tc))
        out.append(fx.SetTimer(view, self._pacemaker.timeout_ms()))

    def _count_timeouts(self, view: int, now_ms: int, out: list[fx.Effect]) -> None:
        current = self._pacemaker.view
        if view < current or self._safety.closed:
            return
        if view == current and self._timeouts.count(view) > self._context.f:
            last = self._safety.last_timeout
            if last is None or last[0] != view:
                self._time_out(now_ms, out)
        shares = self._timeouts.take_quorum(view)
        if shares is not None:
            out.append(fx.CertifyTimeouts(view, shares, self._safety.high_qc))

    # Missing blocks.

    def awaits(self, sender: int, response: BlockResponse) -> bool:
        """Tell whether a response was asked for, so that others need not even be verified."""
        return self._want_awaiting(sender, response) is not None

    def _want_awaiting(self, sender: int, response: BlockResponse) -> Want | None:
        for want in self._fetcher.all():
            if self._fetcher.next_wanted(want)[0] == response.block_id and sender in want.asked:
                return want
        return None

    def _meets_tree(self, want: Want) -> bool:
        # The tree may have grown meanwhile, so the chain may meet it anywhere.
        return any(self._tree.get(self._context.id_of(b.justify)) is not None for b in want.chain)

    def _follow(self, want: Want, now_ms: int, out: list[fx.Effect]) -> None:
        """Insert a chain that reaches a known block, or ask for what it lacks."""
        if self._meets_tree(want):
            self._insert_chain(want, now_ms, out)
        elif want.chain and want.chain[-1].justify.view <= self._tree.root.view:
            # Certified, later than the last final block, and not built on it.
            self._testify(want.chain[-1].view, out)
            self._halt("a certified block does not extend the last final one", out)
        else:
            if self._fetcher.is_full(want):
                self._fetcher.descend(want)
            self._request(want, now_ms, out)

    def _request(self, want: Want, now_ms: int, out: list[fx.Effect]) -> None:
        block_id, _ = self._fetcher.next_wanted(want)
        if self._fetcher.is_left_to_another(want):
            return
        is_far = self._is_far(want)
        if is_far or self._fetcher.is_stuck(now_ms):
            self._seek(out)
            if is_far and self._search.attempts <= CHECKPOINTS_ASKED_FIRST:
                return
        to = self._fetcher.ask(want)
        if to:
            known_view = max(self._tree.root.view, self._fetcher.view_below(want))
            out.append(fx.SendRequest(BlockRequest(block_id, known_view), to))

    def _insert_chain(self, want: Want, now_ms: int, out: list[fx.Effect]) -> None:
        for block in want.chain[::-1]:
            block_id = block.header.id(self._context.domain)
            parent = self._tree.get(self._context.id_of(block.justify))
            if parent is None or self._tree.get(block_id) is not None:
                continue  # Below the last final block, or here already.
            try:
                node = self._judge(block, block_id, parent)
            except InvalidMessage as error:
                # Its id is certified, and its id covers all that was judged.
                self._halt(f"a quorum certified {error}", out)
                return
            self._insert(node, now_ms, out)
            self._fetcher.progressed(now_ms)
            self._note_qc(block.justify, now_ms, out)
        start = want.start
        if self._fetcher.climb(want):
            self._note_qc(start, now_ms, out)
            self._request(want, now_ms, out)
        else:
            self._fetcher.drop(want.block_id)
            self._note_qc(want.qc, now_ms, out)

    def _resume(self, now_ms: int, out: list[fx.Effect]) -> None:
        """Do what had to wait for a block that may be here now."""
        if self._halted or self._safety.closed:
            return
        for want in self._fetcher.all():
            if want.block_id in self._fetcher and self._meets_tree(want):
                self._insert_chain(want, now_ms, out)
        pending = self._pending
        if pending is not None:
            self._pending = None
            self._retry(pending, now_ms, out)
        self._try_propose(now_ms, out)

    def _retry(self, proposal: Proposal, now_ms: int, out: list[fx.Effect]) -> None:
        """Judge a proposal that had to wait for its parent."""
        block = proposal.block
        parent = self._tree.get(self._context.id_of(block.justify))
        if parent is None:
            self._pending = proposal
            return
        block_id = block.header.id(self._context.domain)
        try:
            node = self._judge(block, block_id, parent)
        except InvalidMessage as error:
            out.append(fx.PeerFault(self._context.leader(block.view), str(error)))
            return
        self._insert(node, now_ms, out)
        self._try_vote(block, block_id, now_ms, out)

    # The safety state.

    def _set(self, **changes: object) -> None:
        self._safety = msgspec.structs.replace(self._safety, **changes)
        self._dirty = True

    def _persist(self, out: list[fx.Effect]) -> None:
        if self._dirty:
            self._dirty = False
            out.append(fx.Persist(self._safety))

    def _heard(self, member: int, view: int) -> None:
        # Nobody is heard from the future, else a liar would be waited for without end.
        latest = self._pacemaker.view + WINDOW_AHEAD
        heard = view if view < latest else latest
        if heard > self._last_heard.get(member, 0):
            self._last_heard[member] = heard

    def _testify(self, view: int, out: list[fx.Effect]) -> None:
        testimony = self._witness.testimony(view)
        if testimony is not None and not self._halted:
            out.append(fx.SendTestimony(testimony))

    def _halt(self, reason: str, out: list[fx.Effect]) -> None:
        if not self._halted:
            self._halted = True
            out.append(fx.Halt(reason))


__all__ = ["Checkpoint", "Core", "genesis_checkpoint", "genesis_safety"]
