"""Calls of the Accountability contract: deployment, stakes, and evidence as calldata.

Evidence is what `consensus.evidence` holds: nodes find it, `didyma evidence export` writes it.
"""

from dataclasses import dataclass
from typing import Final

from consensus.committee import Member
from consensus.digests import keccak
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    SignedTimeout,
    SignedVote,
    TwoTimeouts,
    TwoVotes,
)
from contracts import abi
from contracts.abi import ContractError
from contracts.points import FIELD_MODULUS, decompress_g2

CONTRACT: Final = "Accountability"
OFFENCES: Final = ("two-votes", "two-timeouts", "hidden-certificate")
"""The names of `consensus.evidence.KINDS` in the order of the contract's `Offence`."""

_HALF: Final = 64


@dataclass(frozen=True, slots=True)
class Stake:
    """What a key has at stake; `release_at_ms` is 0 while nobody asked to unbond."""

    owner: bytes
    release_at_ms: int
    next_epoch: int
    amount: int


@dataclass(frozen=True, slots=True)
class Convicted:
    """The event of a punishment; `slashed` is 0 if the member had no stake."""

    key: bytes
    operator: bytes
    epoch: int
    view: int
    offence: str
    reporter: bytes
    slashed: int


def encode_deploy(oracle: bytes, token: bytes, reporter_share_ppm: int) -> bytes:
    """Return the creation code; a token of 20 zero bytes is the chain's own coin."""
    return abi.bytecode(CONTRACT) + abi.encode_words(
        _account(oracle), _account(token), reporter_share_ppm
    )


def encode_deposit(member: Member, amount: int) -> bytes:
    """Return the calldata by which a member's operator adds to its stake."""
    record = member.bls_key + member.ed25519_key + abi.encode_word(_account(member.operator))
    return abi.encode_call(CONTRACT, "deposit", record, amount)


def encode_unbond(key: bytes) -> bytes:
    """Return the calldata that announces a withdrawal."""
    return abi.encode_call(CONTRACT, "unbond", key)


def encode_look_through(key: bytes, epochs: int) -> bytes:
    """Return the calldata that looks through epochs begun since the unbonding."""
    return abi.encode_call(CONTRACT, "lookThrough", key, epochs)


def encode_withdraw(key: bytes) -> bytes:
    """Return the calldata that pays a free stake to its owner."""
    return abi.encode_call(CONTRACT, "withdraw", key)


def encode_stakes(key: bytes) -> bytes:
    """Return the calldata that asks for a key's stake."""
    return abi.encode_call(CONTRACT, "stakes", key)


def encode_report(epoch: int, evidence: Evidence) -> bytes:
    """Return the calldata that has whoever the evidence convicts punished.

    Raises `ValueError` for a signature that is no point.
    """
    match evidence:
        case TwoVotes(first=first, second=second):
            return abi.encode_call(CONTRACT, "reportTwoVotes", epoch, _vote(first), _vote(second))
        case TwoTimeouts(first=one, second=other):
            return abi.encode_call(
                CONTRACT, "reportTwoTimeouts", epoch, _timeout(one), _timeout(other)
            )
        case HiddenCertificate(vote=vote, link=link, timeout=timeout):
            linked = abi.encode_words(
                link.parent_id,
                link.parent_view,
                link.height,
                link.state_digest,
                link.payload_digest,
            )
            return abi.encode_call(
                CONTRACT, "reportHiddenCertificate", epoch, _vote(vote), linked, _timeout(timeout)
            )


def key_name(bls_key: bytes) -> bytes:
    """Return the name by which the contract knows a key of 128 bytes: the hash of its negation."""
    y = int.from_bytes(bls_key[_HALF:], "big")
    return keccak(bls_key[:_HALF] + ((FIELD_MODULUS - y) % FIELD_MODULUS).to_bytes(_HALF, "big"))


def decode_stake(data: bytes) -> Stake:
    """Return a key's stake; raise `ValueError` for what no such contract returns."""
    owner, release, epoch, amount = abi.decode(["address", "uint64", "uint32", "uint256"], data)
    return Stake(owner.to_bytes(20, "big"), release, epoch, amount)


def decode_convicted(topics: list[bytes], data: bytes) -> Convicted | None:
    """Return the event in a log, or None if the log is another event's."""
    if len(topics) != 3 or topics[0] != abi.topic(CONTRACT, "Convicted"):
        return None
    epoch, view, offence, reporter, slashed = abi.decode(
        ["uint64", "uint64", "uint8", "address", "uint256"], data
    )
    return Convicted(
        topics[1],
        topics[2][12:],
        epoch,
        view,
        OFFENCES[offence],
        reporter.to_bytes(20, "big"),
        slashed,
    )


def decode_error(data: bytes) -> ContractError | None:
    """Return the custom error in revert data, the Oracle's too, or None if it is neither's."""
    return abi.decode_error(CONTRACT, data) or abi.decode_error("Oracle", data)


def _vote(vote: SignedVote) -> bytes:
    header = vote.header
    return (
        abi.encode_words(header.view, header.observed_at_ms, header.feed_root, header.link)
        + vote.bitmap
        + decompress_g2(vote.aggregate)
    )


def _timeout(timeout: SignedTimeout) -> abi.Dynamic:
    groups = [abi.encode_word(group.high_qc_view) + group.bitmap for group in timeout.groups]
    return abi.Dynamic(
        abi.encode_tuple(timeout.view, abi.encode_array(groups), decompress_g2(timeout.aggregate))
    )


def _account(address: bytes) -> int:
    if len(address) != 20:
        raise ValueError(f"an account has 20 bytes, not {len(address)}")
    return int.from_bytes(address, "big")
