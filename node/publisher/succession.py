"""How an Oracle comes to the next epoch: its members are registered there, then it is handed over.

A committee may be too large to be registered in one transaction, so what is left to do is read from
the chain each time. Whatever other transmitters did meanwhile is not done again.
"""

from dataclasses import dataclass
from typing import Final

from aggregation.table import FeedTable
from consensus.committee import Configuration
from consensus.messages import HandoverCertificate, Successor
from contracts import epochs
from contracts.points import decompress_g2
from node.publisher.call import Call, Step
from node.running_epoch import RunningEpoch

TRANSACTION_GAS_MAX: Final = 1 << 24
"""No transaction may use more (EIP-7825)."""

_REGISTER_FIXED: Final = 60_000
_REGISTER_PER_MEMBER: Final = 400_000
_HANDOVER_FIXED: Final = 600_000
_HANDOVER_PER_MEMBER: Final = 60_000
_HANDOVER_PER_FEED: Final = 28_000

_VIEWS: Final = 1 << 32
"""No view on a chain is as great; see `Handing.stage_key`."""


@dataclass(frozen=True, slots=True)
class Succession:
    """What opens an epoch: its configuration and feeds, the members' proofs, and the certificate.

    `certificate` is by a quorum of the epoch before.
    """

    epoch: int
    configuration: Configuration
    table: FeedTable
    proofs: tuple[epochs.MemberProof, ...]
    certificate: HandoverCertificate


@dataclass(frozen=True, slots=True)
class Handing:
    """What is left of a succession on a chain that knows some of the members."""

    succession: Succession
    registered: tuple[bool, ...]

    @property
    def stage_key(self) -> int:
        """What stands for a view in the order of the transmitters.

        It changes with each step that is done, so the next one begins with another transmitter's
        turn, whoever was too slow or could not pay.
        """
        return _VIEWS + sum(self.registered)

    def call(self, block_gas: int) -> Call:
        """Return the next call, which fits a block of so much gas. Takes milliseconds a member.

        Raises `ValueError` if a proof or the certificate is no point.
        """
        this = self.succession
        gas_max = min(block_gas, TRANSACTION_GAS_MAX)
        members = this.configuration.members
        missing = [i for i, known in enumerate(self.registered) if not known]
        if not missing:
            gas = (
                _HANDOVER_FIXED
                + _HANDOVER_PER_MEMBER * len(members)
                + _HANDOVER_PER_FEED * this.table.count
            )
            terms = epochs.HandoverTerms(
                this.certificate.deciding_id,
                this.certificate.observed_at_ms,
                int.from_bytes(this.certificate.bitmap, "big"),
                decompress_g2(this.certificate.aggregate),
            )
            calldata = epochs.encode_handover(this.epoch, this.configuration, this.table, terms)
            return Call(Step.HANDOVER, calldata, min(gas, gas_max))
        most = (gas_max - _REGISTER_FIXED) // _REGISTER_PER_MEMBER
        part = missing[: max(1, min(most, epochs.REGISTRATIONS_PER_CALL))]
        (calldata,) = epochs.encode_register(
            [members[i] for i in part], [this.proofs[i] for i in part]
        )
        gas = min(_REGISTER_FIXED + _REGISTER_PER_MEMBER * len(part), gas_max)
        return Call(Step.REGISTRATION, calldata, gas)


def succession_of(epoch: RunningEpoch, ended: Successor) -> Succession:
    """Return how an epoch is opened on a chain, given how the one before it ended."""
    proofs = []
    for member in epoch.members:
        # No member votes for a configuration whose proofs it has not checked.
        assert member.registration is not None
        proofs.append(epochs.MemberProof(member.proof_of_possession, member.registration))
    context = epoch.context
    return Succession(
        context.epoch, context.configuration, epoch.table, tuple(proofs), ended.certificate
    )
