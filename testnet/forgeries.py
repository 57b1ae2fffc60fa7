"""Certificates and messages that must be refused, or change nothing.

Each is what somebody could really send: aggregates are of shares that were signed, only what is
said about them is false.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

import msgspec

from consensus.committee import EpochContext, bitmap_of, signers_of
from consensus.errors import InvalidMessage
from consensus.messages import QC, TC, Header, Message, TimeoutGroup, decode, encode

replace = msgspec.structs.replace


class Aggregator(Protocol):
    """Makes certificates of shares that were signed."""

    def qc(self, header: Header, signers: Sequence[int]) -> QC:
        """Return the certificate of these members."""
        ...

    def tc(self, view: int, reported: Mapping[int, int], high_qc: QC) -> TC:
        """Return the timeout certificate of {signer: high-QC view}."""
        ...

    def tc_aggregate(self, view: int, groups: Sequence[TimeoutGroup]) -> bytes:
        """Return the aggregate of these members' shares on leaving a view."""
        ...


def relabelled(qc: QC, view: int) -> QC:
    """Say of a certificate that it is of another view."""
    return replace(qc, header=replace(qc.header, view=view))


def thin(random: Random, context: EpochContext, signatures: Aggregator, qc: QC) -> QC:
    """Say q signers where there are fewer: too few, one of them beyond the committee, or none."""
    signers = list(signers_of(qc.bitmap))[: context.q - 1]
    honest = signatures.qc(qc.header, signers)
    kind = random.randrange(4)
    if kind == 0:
        return honest
    if kind == 1:
        return replace(honest, bitmap=bitmap_of([*signers, context.n + random.randrange(100)]))
    if kind == 2:
        return replace(honest, bitmap=bitmap_of(range(context.n)))
    return QC(qc.header, bitmap_of(range(context.n)), bytes([0xC0]) + bytes(95))


def overlapping(random: Random, context: EpochContext, signatures: Aggregator, tc: TC) -> TC:
    """Count signers in several groups, or the same group twice."""
    first = tc.groups[0]
    few = bitmap_of(signers_of(first.bitmap)[:1])
    kind = random.randrange(3)
    if kind == 0:
        groups = (*tc.groups, *tc.groups)
    elif kind == 1:
        groups = (TimeoutGroup(first.high_qc_view, few), TimeoutGroup(tc.view - 1, few))
    else:
        lower = signers_of(first.bitmap)[: context.q - 1]
        groups = (replace(first, bitmap=bitmap_of([*lower, context.n])),)
    return TC(tc.view, groups, signatures.tc_aggregate(tc.view, groups), tc.high_qc)


def elsewhere(random: Random, context: EpochContext) -> EpochContext:
    """Return the same members in another network, or in the epoch after."""
    network, epoch = random.choice(
        ((b"m" * 32, context.epoch), (context.network, context.epoch + 1))
    )
    return EpochContext(
        network, epoch, context.configuration, context.genesis_state_digest, context.genesis_time_ms
    )


def spoilt_frame(random: Random, message: Message) -> bytes:
    """Return a message's frame with some bytes changed on the wire."""
    frame = bytearray(encode(message))
    for _ in range(random.randint(1, 3)):
        frame[random.randrange(len(frame))] = random.randrange(256)
    return bytes(frame)


def spoilt(random: Random, message: Message) -> Message | None:
    """Return a message with some bytes changed on the wire; None if it is none any more."""
    try:
        return decode(spoilt_frame(random, message))
    except InvalidMessage:
        return None
