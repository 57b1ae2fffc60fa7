"""What an Oracle refuses, as exceptions: each says what happened and what to do about it.

Catch `NoPrice` where a price may be missing, `ReportRefused` where reports are brought, and
`OracleError` for anything that a contract said.
"""

from typing import Final

from contracts import client
from contracts.abi import ContractError


class OracleError(Exception):
    """The Oracle refused; `error` is its custom error, None if it gave none that it knows."""

    def __init__(self, message: str, error: ContractError | None = None) -> None:
        super().__init__(message)
        self.error = error


class NoPrice(OracleError):
    """There is no price that is fit for use; `feed` is the one that was asked for."""

    @property
    def feed(self) -> int:
        """Position in the feed table."""
        return _number(self.error, "feed")


class UnknownFeed(NoPrice):
    """The Oracle has no such feed: look at `feeds()`."""


class Unavailable(NoPrice):
    """No report came yet, or the committee could not agree on a price."""


class Halted(NoPrice):
    """The feed's breaker has tripped: do not trade until it heals, which it does by itself."""


class Stale(NoPrice):
    """The answer is older than was asked for: bring a newer report, or allow a greater age."""

    @property
    def age_ms(self) -> int:
        """How old the answer is."""
        return _number(self.error, "age")


class Uncertain(NoPrice):
    """The answer is less certain than was asked for: wait, or allow a wider confidence."""

    @property
    def confidence_ppm(self) -> int:
        """The confidence of the answer, in parts per million of the price."""
        return _number(self.error, "confidencePpm")


class ReportRefused(OracleError):
    """A report, its certificate or its place in time is not what this Oracle takes."""


class NotProvable(OracleError):
    """A proof does not fit a report that was posted: post it (again), or use `update`."""


class NotFinal(OracleError):
    """A proof of finality does not show what was asked for."""


class EpochRefused(OracleError):
    """A committee, its proofs or its handover is not what this Oracle takes."""


_KINDS: Final[dict[str, type[OracleError]]] = {
    **{kind.__name__: kind for kind in (UnknownFeed, Unavailable, Halted, Stale, Uncertain)},
    **dict.fromkeys(("NotPosted", "NotInReport"), NotProvable),
    **dict.fromkeys(("NotFinal", "NotFirstAfter"), NotFinal),
    **dict.fromkeys(
        (
            *("FromTheFuture", "Expired", "EpochAhead", "NoFeedRoot", "NoClaims", "RootsDiffer"),
            *("PathLength", "UnknownSigner", "BelowQuorum", "InfinityAggregateKey"),
            *("MalformedSignature", "BadSignature", "PrecompileFailed", "CommitteeMissing"),
        ),
        ReportRefused,
    ),
    **dict.fromkeys(
        (
            *("CommitteeSize", "FeedTableSize", "OutOfRange", "Duplicate", "InfinityKey"),
            *("BadProofOfPossession", "BadRegistration", "NotRegistered", "AlreadyOpen"),
            *("AnotherConfiguration", "FeedChanged", "BlobNotStored", "UnknownMember"),
        ),
        EpochRefused,
    ),
}


def error_of(data: bytes) -> OracleError:
    """Return revert data as the exception that says what to do."""
    error = client.decode_error(data)
    kind = OracleError if error is None else _KINDS.get(error.name, OracleError)
    return kind(client.describe_error(data), error)


def _number(error: ContractError | None, name: str) -> int:
    value = None if error is None else error.arguments.get(name)
    assert isinstance(value, int)
    return value
