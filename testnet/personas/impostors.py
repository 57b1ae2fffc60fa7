"""Members that sign with what is no signature, or hand over to what nobody decided."""

from collections.abc import Iterable
from random import Random

from consensus.committee import bitmap_of
from consensus.handover import terms_of
from consensus.messages import HandoverCertificate, HandoverShare, Message, Timeout, Vote
from testnet.aggregates import bad_share
from testnet.forgeries import replace
from testnet.personas.pests import Pest
from testnet.personas.wire import Tampering
from testnet.setting import BAD_SHARES


class BadSigner(Tampering):
    """Signs votes and timeouts with infinity, no point, points off the subgroup, others' shares.

    And with shares that are wrong but for another such member's, which make up for it.
    """

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return the message with a share that is none, in two views of five."""
        match message:
            case Vote(header=header):
                view = header.view
            case Timeout(view=view):
                pass
            case _:
                return (message,)
        # The same for everybody, and for others of the kind: shares that make up for each other.
        random = Random(f"bad share {view}")
        if random.random() > 0.4:
            return (message,)
        kind = random.randrange(BAD_SHARES)
        self.did(f"a bad share of kind {kind}")
        another = self.forger.elsewhere(self.context).vote(bytes(32))
        share = bad_share(kind, self.me, message.share, another)
        return (replace(message, share=share),)


class Misdirector(Pest):
    """Hands over to epochs that nobody decided, or before the end."""

    def besides(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return a share on false terms, or a certificate that only this member signed."""
        blocks = sorted(self.knows.after.items(), key=lambda item: item[1][3])[-3:]
        deciding_id, (_, _, at_ms, _) = self.random.choice(blocks)
        terms = terms_of(self.context, self.random.randbytes(32), deciding_id, at_ms)
        place = (terms.configuration_hash, terms.deciding_id, terms.observed_at_ms)
        share = self.forger.elsewhere(self.context).handover(terms)
        self.did("false terms")
        if self.random.randrange(2):
            yield HandoverShare(*place, share)
        else:
            signers = self.random.choice((self.context.q, self.context.n))
            yield HandoverCertificate(*place, bitmap_of(range(signers)), share)
