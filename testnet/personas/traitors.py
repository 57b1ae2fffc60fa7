"""Members that use their right to sign and to lead against the others."""

from collections.abc import Iterable
from random import Random

import trio

from aggregation.observation import ObservationBody
from aggregation.price import TIME_MAX_MS
from consensus.messages import (
    QC,
    TC,
    Block,
    BlockResponse,
    Certificate,
    CheckpointResponse,
    Header,
    Message,
    ObservationMessage,
    Observed,
    Proposal,
    Timeout,
    Vote,
)
from node.payload import decode_payload
from testnet.byzantine_choices import (
    FALSE_WAYS,
    WRONG_TIMES_MS,
    false_checkpoint,
    false_ground,
    false_response,
    quorum_of_choice,
)
from testnet.forgeries import replace
from testnet.personas.wire import Tampering

_HOLD_SECONDS = 0.03
"""A leader that chooses waits so long for observations that it likes better."""


class Equivocator(Tampering):
    """Says two things in a view: a third of the others hear one, a third the other, the rest both.

    Proposals have a twin with other observations, votes one for the twin or for a block that does
    not exist, timeouts one that reports an older certificate, observations one of other prices.
    """

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return one voice, the other, or both."""
        other = self.twin(message)
        if other is None:
            return (message,)
        self.did(f"two of {type(message).__name__}")
        return ((message,), (other,), (message, other))[self.third(member)]

    def twin(self, message: Message) -> Message | None:
        """Return what contradicts a message, the same each time; None if nothing does."""
        match message:
            case Proposal():
                return self._twin_of_proposal(message)
            case Vote(header=header):
                return self.forger.vote(self._other_header(header))
            case Timeout(view=view, high_qc_view=high):
                older = [qc.view for qc in self.knows.certificates(view) if qc.view < high]
                return self.forger.timeout(message, older[-1]) if older else None
            case ObservationMessage(observed=observed):
                return ObservationMessage(self._other_observed(observed))
            case _:
                return None

    def _other_observed(self, observed: Observed) -> Observed:
        body = ObservationBody.decode(observed.body)
        entries = tuple(entry._replace(price=entry.price * 999 // 1000) for entry in body.entries)
        lacking = tuple(e if e.price else e._replace(confidence=0) for e in entries)
        return self.forger.observed(
            observed.view, ObservationBody(body.observed_at_ms, lacking).encode()
        )

    def _twin_of_proposal(self, proposal: Proposal) -> Proposal | None:
        block = proposal.block
        view = block.view
        honest = dict(self.knows.observed.get(view, {}))
        honest.pop(self.me, None)
        own = [one for one in decode_payload(block.payload) if one.member == self.me]
        mine = [self._other_observed(observed) for observed in own]
        needed = self.context.q - len(mine)
        others = [honest[m] for m in self.some(len(self.others), "twin") if m in honest]
        twin = self.knows.block(view, block.justify, [*mine, *others[:needed]])
        if twin is None or twin.header == block.header:
            return None
        return self.forger.proposal(twin, proposal.tc)

    def _other_header(self, header: Header) -> Header:
        """Return the header of another block of the view, or of one that does not exist."""
        blocks = [entry[0] for entry in self.knows.after.values()]
        for block in blocks:
            if block is not None and block.view == header.view and block.header != header:
                return block.header
        return replace(header, feed_root=header.link, link=header.feed_root)


class Withholder(Tampering):
    """Sends most things to some only, hides certificates and shows old ones, picks what it leads.

    As a leader it takes a quorum of those who were lowest in the view before, if they come in time.
    """

    async def admits(self, member: int, message: Message) -> bool:
        """Let the core see the observations that suit, once they are a quorum no others."""
        if not isinstance(message, ObservationMessage):
            return True
        view = message.observed.view
        if self.context.leader(view) != self.me or member in self._favourites(view):
            return True
        await trio.sleep(_HOLD_SECONDS)
        here = set(self.knows.observed.get(view, {})) & self._favourites(view)
        if len(here) + 1 < self.context.q:
            return True
        self.did("a biased choice of observations")
        return False

    def _favourites(self, view: int) -> set[int]:
        """Return who was lowest in the view before: so many that they are a quorum with us."""
        before = self.knows.observed.get(view - 1, {})
        lowest = sorted((m for m in before if m != self.me), key=lambda m: _first_price(before[m]))
        rest = [m for m in self.others if m not in lowest]
        return set([*lowest, *rest][: self.context.q - 1])

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return the message for a few, nothing for the others."""
        q, f = self.context.q, self.context.f
        match message:
            case Proposal():
                chosen = self.some(q - 1, "proposal")
            case Vote():
                chosen = self.some(f, "vote")
            case Timeout():
                chosen = self.some(f, "timeout")
            case ObservationMessage():
                chosen = self.some(f + 1, "observation")
            case Certificate():
                chosen = self.some(1, "certificate")
            case _:
                return (message,)
        if member in chosen:
            return (message,)
        self.did(f"no {type(message).__name__} for some")
        if self.random.randrange(8) == 0:
            known = self.knows.certificates(self.view + 1)
            old = self.random.choice(known[-8:]) if known else self.context.genesis_qc
            self.did("an old certificate")
            return (Certificate(old, self.knows.weakest_tc(old.view + 1)),)
        return ()


def _first_price(observed: Observed) -> int:
    return ObservationBody.decode(observed.body).entries[0].price


class Stale(Tampering):
    """Reports the oldest certificate, and proposes on the weakest TC and the stalest QC there is.

    That is within the rules where a timeout certificate allows it. Where it does not, one proposal
    in four extends an old certificate all the same.
    """

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return the stalest of what may be said."""
        match message:
            case Timeout():
                self.did("the oldest certificate reported")
                genesis = self.context.genesis_qc
                return (replace(self.forger.timeout(message, 0), qc=genesis, tc=None),)
            case Proposal(block=block):
                return (self.proposal(block.view) or message,)
            case _:
                return (message,)

    def ground(self, view: int) -> tuple[QC, TC | None] | None:
        """Return what to extend; None for what its core would."""
        weakest = self.knows.weakest_tc(view - 1)
        if weakest is not None:
            return weakest.high_qc, weakest
        known = self.knows.certificates(view - 1)
        if known and Random(f"stale {self.me} {view}").randrange(4) == 0:
            return known[-min(len(known), 3)], None
        return None

    def proposal(self, view: int) -> Proposal | None:
        """Return the proposal for a view, the same each time."""
        ground = self.ground(view)
        if ground is None or ground[0].view >= view:
            return None
        block = self._block(view, ground[0])
        if block is None:
            return None
        self.did("a stale proposal")
        return self.forger.proposal(block, ground[1])

    def _block(self, view: int, justify: QC) -> Block | None:
        honest = self.knows.observed.get(view, {})
        mine = [honest[self.me]] if self.me in honest else []
        others = {m: honest[m] for m in honest if m != self.me}
        random = Random(f"block {self.me} {view}")
        return self.knows.block(
            view, justify, quorum_of_choice(random, mine, others, self.context.q)
        )


class Overreacher(Stale):
    """Proposes on less than it may: older QCs, TCs of other views, certificates said to be others.

    In every second view that it leads, one way after the other.
    """

    def ground(self, view: int) -> tuple[QC, TC | None] | None:
        """Return ground that nobody may build on."""
        random = Random(f"overreach {self.me} {view}")
        known = self.knows.certificates(view)
        if not known or random.randrange(2):
            return None
        way = random.choice(FALSE_WAYS)
        self.did(way)
        return false_ground(random, self.knows, way, view, known, self.knows.weakest_tc(view - 1))

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return an unjustified proposal in the place of a justified one."""
        if isinstance(message, Proposal):
            return (self.proposal(message.block.view) or message,)
        return (message,)


class WrongTimes(Tampering):
    """Observes at wrong times, and at different ones for different members."""

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return the observation with another time."""
        if not isinstance(message, ObservationMessage):
            return (message,)
        observed = message.observed
        body = ObservationBody.decode(observed.body)
        wrong_ms = self.random.choice(WRONG_TIMES_MS)
        at_ms = min(max(0, body.observed_at_ms + wrong_ms), TIME_MAX_MS)
        self.did("a wrong time")
        wrong = ObservationBody(at_ms, body.entries).encode()
        return (ObservationMessage(self.forger.observed(observed.view, wrong)),)


class Misinformer(Tampering):
    """Answers requests for blocks and checkpoints with none, others, old ones, or wrong parts."""

    _old: CheckpointResponse | None = None

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return a false answer."""
        match message:
            case BlockResponse():
                self.did("false blocks")
                return (false_response(self.random, self.knows, message),)
            case CheckpointResponse():
                self.did("a false checkpoint")
                self._old = self._old or message
                return false_checkpoint(self.random, self.knows, message, self._old)
            case _:
                return (message,)
