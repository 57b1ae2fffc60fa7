"""Calls of contracts that inherit Settlement: whoever brings the proof ends a request."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from contracts import abi
from contracts.abi import ContractError
from contracts.client import Claim
from contracts.finality import FinalProof

CONTRACT: Final = "Settlement"


class Outcome(IntEnum):
    """How a request ended."""

    SETTLED = 0
    NOT_LIVE = 1
    UNCERTAIN = 2
    TOO_LATE = 3
    EXPIRED = 4


@dataclass(frozen=True, slots=True)
class Requested:
    """The event of a request: its report is the first final one after the moment (Unix ms)."""

    id: int
    moment_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The event of a request's end; the price is 0 unless it was settled."""

    id: int
    outcome: Outcome
    price: int
    observed_at_ms: int


def encode_settle(request: int, proof: FinalProof, claim: Claim) -> bytes:
    """Return the calldata that ends a request by its report."""
    return abi.encode_call(CONTRACT, "settle", request, proof.encoded, claim.encoded)


def encode_expire(request: int) -> bytes:
    """Return the calldata that cancels a request that nobody settled in time."""
    return abi.encode_call(CONTRACT, "expire", request)


def decode_requested(topics: list[bytes], data: bytes) -> Requested | None:
    """Return the event in a log, or None if the log is another event's."""
    if len(topics) != 2 or topics[0] != abi.topic(CONTRACT, "Requested"):
        return None
    moment, deadline = abi.decode(["uint64", "uint64"], data)
    return Requested(int.from_bytes(topics[1], "big"), moment, deadline)


def decode_ended(topics: list[bytes], data: bytes) -> Ended | None:
    """Return the event in a log, or None if the log is another event's."""
    if len(topics) != 2 or topics[0] != abi.topic(CONTRACT, "Ended"):
        return None
    outcome, price, observed_at = abi.decode(["uint8", "uint256", "uint64"], data)
    return Ended(int.from_bytes(topics[1], "big"), Outcome(outcome), price, observed_at)


def decode_error(data: bytes) -> ContractError | None:
    """Return the custom error in revert data, the Oracle's too, or None if it is neither's."""
    return abi.decode_error(CONTRACT, data) or abi.decode_error("Oracle", data)
