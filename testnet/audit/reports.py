"""Certified reports as the journals tell them, and whether each is what a quorum signed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from blspy import G1Element, G2Element, PopSchemeMPL

from aggregation.encoding import Answer, decode_answer, feed_root, unpack_words
from consensus.committee import signers_of
from consensus.messages import Header
from consensus.types import BITMAP_BYTES
from node.journal import Certified
from node.network_file import NetworkFile
from node.payload import NO_ROOT
from node.running_epoch import RunningEpoch
from testnet.audit.case import Case
from testnet.audit.violation import Violation

CERTIFICATES_VERIFIED_MAX = 4_000
"""Beyond so many, evenly spread ones are verified: two milliseconds each."""


@dataclass(slots=True)
class CertifiedReport:
    """One certified id: all entries of all members on it agree, or are reported."""

    entry: Certified
    first_ms: int
    certificates: set[tuple[str, str]] = field(default_factory=set)
    """Every (bitmap, aggregate) that a member held for it."""

    @property
    def header(self) -> Header:
        """The header, as it is signed."""
        header = self.entry.header
        root, link = bytes.fromhex(header.feed_root), bytes.fromhex(header.link)
        return Header(header.view, header.observed_at_ms, root, link)

    @property
    def words(self) -> tuple[int, ...]:
        """The words of the report."""
        return tuple(int(word, 16) for word in self.entry.words)

    def answers(self, feeds: int) -> list[Answer]:
        """Return the answers of all feeds; raise `ValueError` if the words are malformed."""
        return [decode_answer(lane) for lane in unpack_words(self.words)][:feeds]


class Reports:
    """All certified reports of a case, by id, in ascending order of views."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.by_id: dict[str, CertifiedReport] = {}
        self.inconsistent: list[Violation] = []
        for member in case.members:
            for entry in member.entries:
                if isinstance(entry, Certified):
                    self._take(member.name, entry)
        ordered = sorted(self.by_id.items(), key=lambda item: (item[1].entry.view, item[0]))
        self.by_id = dict(ordered)

    def _take(self, member: str, entry: Certified) -> None:
        known = self.by_id.setdefault(entry.id, CertifiedReport(entry, entry.t_ms))
        known.first_ms = min(known.first_ms, entry.t_ms)
        known.certificates.add((entry.bitmap, entry.aggregate))
        if _content(entry) != _content(known.entry):
            self.inconsistent.append(
                Violation(
                    "bad-certificate",
                    f"members hold different contents under the id {entry.id}",
                    entry.view,
                    member,
                )
            )

    @property
    def priced(self) -> dict[str, CertifiedReport]:
        """Those with answers: blocks after the one that ends an epoch have none."""
        return {block_id: report for block_id, report in self.by_id.items() if report.entry.words}

    @cached_property
    def ids_by_view(self) -> dict[int, set[str]]:
        """The certified ids of each view."""
        ids: dict[int, set[str]] = {}
        for block_id, report in self.by_id.items():
            ids.setdefault(report.entry.view, set()).add(block_id)
        return ids


def _content(entry: Certified) -> tuple[object, ...]:
    return (
        entry.domain,
        entry.view,
        entry.height,
        entry.parent_id,
        entry.parent_view,
        entry.header,
        entry.words,
    )


def check_certificates(case: Case, reports: Reports) -> Iterator[Violation]:
    """Recompute ids and roots; verify the signatures of quorums."""
    yield from reports.inconsistent
    verifier = _CertificateVerifier(case.network)
    total = sum(len(report.certificates) for report in reports.by_id.values())
    stride = -(-total // CERTIFICATES_VERIFIED_MAX) or 1
    number = 0
    for block_id, report in reports.by_id.items():
        problem = _problem_of(case, block_id, report)
        if problem:
            yield Violation("bad-certificate", problem, report.entry.view)
            continue
        for bitmap, aggregate in sorted(report.certificates):
            number += 1
            if number % stride == 0:
                problem = verifier.problem_of(block_id, bitmap, aggregate)
                if problem:
                    yield Violation("bad-certificate", problem, report.entry.view)


def _problem_of(case: Case, block_id: str, report: CertifiedReport) -> str | None:
    entry = report.entry
    if entry.domain != case.domain:
        return f"{block_id} is certified under another domain"
    if entry.view != entry.header.view:
        return f"{block_id}: the view beside the header is not the header's"
    try:
        if report.header.id(case.network.context.domain).hex() != block_id:
            return f"{block_id} is not the digest of its header"
        after = case.deciding_view is not None and entry.view > case.deciding_view
        if after != (report.header.feed_root == NO_ROOT):
            return f"{block_id} {'has' if after else 'lacks'} prices"
        if after:
            return f"{block_id} has words without a root" if entry.words else None
        if feed_root(report.words) != report.header.feed_root:
            return f"the words of {block_id} do not hash to its feed root"
        report.answers(case.network.table.count)
    except (ValueError, AssertionError) as error:
        return f"{block_id} is malformed: {error}"
    return None


class _CertificateVerifier:
    def __init__(self, network: NetworkFile | RunningEpoch) -> None:
        self._n, self._q = network.context.n, network.context.q
        self._keys = [G1Element.from_bytes(member.bls_key) for member in network.members]

    def problem_of(self, block_id: str, bitmap: str, aggregate: str) -> str | None:
        """Return what is wrong with a certificate of an id, if anything is."""
        try:
            bits = bytes.fromhex(bitmap)
            signature = G2Element.from_bytes(bytes.fromhex(aggregate))
        except (ValueError, RuntimeError):
            return f"the certificate of {block_id} is malformed"
        signers = signers_of(bits)
        if len(bits) != BITMAP_BYTES or any(signer >= self._n for signer in signers):
            return f"the certificate of {block_id} names members beyond the committee"
        if len(signers) < self._q:
            return f"the certificate of {block_id} has {len(signers)} signers of {self._q}"
        keys = [self._keys[signer] for signer in signers]
        if not PopSchemeMPL.fast_aggregate_verify(keys, bytes.fromhex(block_id), signature):
            return f"the signature of the certificate of {block_id} does not verify"
        return None
