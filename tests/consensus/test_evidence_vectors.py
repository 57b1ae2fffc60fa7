"""The committed vectors of evidence equal what the code makes today, and each is judged as it says.

`python tests/consensus/test_evidence_vectors.py` writes them anew. The keys are `key_gen` of 32
bytes 0x01, of 32 bytes 0x02 and so on, and are good for nothing else.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blspy import G2Element, PopSchemeMPL

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.table import FeedTable
from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    bitmap_of,
    network_id,
)
from consensus.digests import TAG_LINK, TAG_TIMEOUT, TAG_VOTE, keccak, timeout_digest
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    SignedTimeout,
    SignedVote,
    TwoTimeouts,
    TwoVotes,
    two_timeouts,
    two_votes,
)
from consensus.messages import Header, Link, TimeoutGroup
from contracts.points import decompress_g1
from node.evidence_file import (
    EvidenceNotValid,
    describe,
    document_of,
    encode_document,
    verify_file,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "evidence.json"
AT_MS = 1_700_000_000_000
N = 7
SECRETS = [PopSchemeMPL.key_gen(bytes([i]) * 32) for i in range(1, N + 1)]
VENUES = ("coinbase", "kraken", "bitstamp")
SOURCES = tuple(SourceSpec(venue, "BTC", "USD", 10, 5_000) for venue in VENUES)
TABLE = FeedTable((FeedSpec("BTC", "USD", 8, 1, 3, 1_000, 1_000, 30_000, SOURCES),))


def context_of(epoch: int = 3) -> EpochContext:
    members = tuple(
        Member(
            decompress_g1(bytes(secret.get_g1())),
            bytes(secret.get_g1()),
            bytes([0xE0 + i]) * 32,
            bytes([i]) * 20,
        )
        for i, secret in enumerate(SECRETS, 1)
    )
    configuration = Configuration(members, TABLE.digest(), Timing(), 1_900_000_000_000)
    return EpochContext(
        network_id("vectors", configuration.hash), epoch, configuration, bytes(32), 0
    )


CONTEXT = context_of()


def aggregate(digests: Iterable[tuple[int, bytes]]) -> bytes:
    shares: list[G2Element] = [PopSchemeMPL.sign(SECRETS[i], digest) for i, digest in digests]
    return bytes(PopSchemeMPL.aggregate(shares))


def link(parent_view: int, mark: int = 1) -> Link:
    return Link(bytes([mark]) * 32, parent_view, 40, bytes([mark + 1]) * 32, bytes([9]) * 32)


def header(view: int, made_of: Link, root: int = 0x77) -> Header:
    return Header(view, AT_MS + view, bytes([root]) * 32, made_of.digest)


def votes(of: Header, members: Iterable[int], context: EpochContext = CONTEXT) -> SignedVote:
    signers = sorted(members)
    digest = of.id(context.domain)
    return SignedVote(of, bitmap_of(signers), aggregate((i, digest) for i in signers))


def timeouts(view: int, reported: dict[int, int], context: EpochContext = CONTEXT) -> SignedTimeout:
    by_view: dict[int, list[int]] = {}
    for member, high in sorted(reported.items()):
        by_view.setdefault(high, []).append(member)
    groups = tuple(TimeoutGroup(high, bitmap_of(by_view[high])) for high in sorted(by_view))
    signed = [(i, timeout_digest(context.domain, view, high)) for i, high in reported.items()]
    return SignedTimeout(view, groups, aggregate(signed))


PARENT = link(11)
VOTED = header(12, PARENT)
OTHER = header(12, link(10, 3), 0x78)


def valid() -> Iterator[tuple[str, Evidence, tuple[int, ...]]]:
    """Yield evidence that convicts, with whom."""
    c = CONTEXT
    yield "two shares", two_votes(c, votes(VOTED, [4]), votes(OTHER, [4])), (4,)
    yield (
        "two certificates",
        two_votes(c, votes(VOTED, range(5)), votes(OTHER, range(2, 7))),
        (2, 3, 4),
    )
    yield "a share and a certificate", two_votes(c, votes(VOTED, [1]), votes(OTHER, range(5))), (1,)
    yield (
        "a vote and a timeout of its view",
        HiddenCertificate(votes(VOTED, [5]), PARENT, timeouts(12, {5: 10})),
        (5,),
    )
    yield (
        "a certificate and a later TC",
        HiddenCertificate(
            votes(VOTED, range(5)), PARENT, timeouts(15, {1: 7, 2: 10, 3: 11, 5: 10, 6: 12})
        ),
        (1, 2),
    )
    yield "two timeouts", two_timeouts(timeouts(12, {3: 9}), timeouts(12, {3: 11})), (3,)
    yield (
        "two TCs",
        two_timeouts(
            timeouts(12, {0: 9, 1: 9, 2: 10, 3: 11, 4: 11}),
            timeouts(12, {0: 9, 1: 11, 2: 11, 5: 11, 6: 10}),
        ),
        (1, 2),
    )


def invalid() -> Iterator[tuple[str, Evidence]]:
    """Yield what proves nothing; all signatures are good unless the name says otherwise."""
    first, second = sorted((VOTED, OTHER), key=lambda one: one.id(CONTEXT.domain))
    mine = [2]
    yield "one header twice", TwoVotes(votes(VOTED, mine), votes(VOTED, mine))
    yield "in the wrong order", TwoVotes(votes(second, mine), votes(first, mine))
    later = header(13, PARENT)
    one, other = sorted((VOTED, later), key=lambda h: h.id(CONTEXT.domain))
    yield "headers of two views", TwoVotes(votes(one, mine), votes(other, mine))
    yield "nobody in both", TwoVotes(votes(first, [1, 2]), votes(second, [3, 4]))
    yield (
        "a bit beyond the committee",
        TwoVotes(
            msgspec.structs.replace(votes(first, mine), bitmap=bitmap_of([2, 7])),
            votes(second, mine),
        ),
    )
    yield (
        "a bit of somebody who did not sign",
        TwoVotes(
            msgspec.structs.replace(votes(first, [2, 3]), bitmap=bitmap_of([2, 3, 4])),
            votes(second, [2, 4]),
        ),
    )
    stranger = context_of(epoch=4)
    yield "a vote of another epoch", TwoVotes(votes(first, mine), votes(second, mine, stranger))
    vote = votes(VOTED, mine)
    yield (
        "a report as high as the parent",
        HiddenCertificate(vote, PARENT, timeouts(12, {2: 11})),
    )
    yield "a timeout before the vote", HiddenCertificate(vote, PARENT, timeouts(11, {2: 9}))
    yield "another link", HiddenCertificate(vote, link(10), timeouts(12, {2: 9}))
    yield "a timeout of another", HiddenCertificate(vote, PARENT, timeouts(12, {3: 9}))
    yield (
        "a timeout of another epoch",
        HiddenCertificate(vote, PARENT, timeouts(12, {2: 9}, stranger)),
    )
    good = timeouts(14, {1: 9, 2: 9, 3: 12})
    swapped = msgspec.structs.replace(good, groups=good.groups[::-1])
    yield "groups that do not ascend", HiddenCertificate(vote, PARENT, swapped)
    overlapping = msgspec.structs.replace(
        good,
        groups=(good.groups[0], msgspec.structs.replace(good.groups[1], bitmap=bitmap_of([2, 3]))),
    )
    yield "groups that overlap", HiddenCertificate(vote, PARENT, overlapping)
    yield (
        "a report not below its view",
        HiddenCertificate(votes(header(12, link(20)), mine), link(20), timeouts(13, {2: 13})),
    )
    same = timeouts(12, {2: 9})
    yield "one timeout twice", TwoTimeouts(same, same)
    yield (
        "the same report of a member in two TCs",
        two_timeouts(timeouts(12, {1: 9, 2: 10}), timeouts(12, {2: 10, 3: 9})),
    )
    yield "timeouts of two views", TwoTimeouts(timeouts(12, {2: 9}), timeouts(13, {2: 10}))


def _preimages(evidence: Evidence) -> dict[str, list[str]]:
    """Return what is hashed on the way to each digest that is signed or compared."""

    def number(value: int) -> bytes:
        return value.to_bytes(8, "big")

    def of_vote(vote: SignedVote) -> str:
        h = vote.header
        place = CONTEXT.domain + number(h.view) + number(h.observed_at_ms)
        return "0x" + (TAG_VOTE + place + h.feed_root + h.link).hex()

    def of_timeout(timeout: SignedTimeout) -> list[str]:
        place = TAG_TIMEOUT + CONTEXT.domain + number(timeout.view)
        return ["0x" + (place + number(g.high_qc_view)).hex() for g in timeout.groups]

    match evidence:
        case TwoVotes():
            return {"votes": [of_vote(evidence.first), of_vote(evidence.second)]}
        case TwoTimeouts():
            return {"timeouts": of_timeout(evidence.first) + of_timeout(evidence.second)}
        case HiddenCertificate(vote=vote, link=made_of, timeout=timeout):
            place = number(made_of.parent_view) + number(made_of.height)
            opened = TAG_LINK + made_of.parent_id + place
            opened += made_of.state_digest + made_of.payload_digest
            return {
                "votes": [of_vote(vote)],
                "link": ["0x" + opened.hex()],
                "timeouts": of_timeout(timeout),
            }


def make() -> dict[str, Any]:
    """Return every vector; documents are files of `didyma evidence export` without their members.

    The members stand once beside them.
    """
    cases: list[dict[str, Any]] = []
    members: Any = None
    for name, evidence, accused in valid():
        document = json.loads(encode_document(document_of(CONTEXT, evidence)))
        assert document["accused"] == list(accused)
        members = document.pop("members")
        cases.append({"name": name, "document": document, "preimages": _preimages(evidence)})
    refused: list[dict[str, Any]] = []
    for name, evidence in invalid():
        document = json.loads(encode_document(describe(CONTEXT, evidence, ())))
        del document["members"]
        refused.append({"name": name, "document": document})
    return {
        "network": "vectors",
        "valid_until_ms": CONTEXT.configuration.valid_until_ms,
        "feed_table_digest": "0x" + TABLE.digest().hex(),
        "members": members,
        "valid": cases,
        "invalid": refused,
    }


@pytest.fixture(scope="module")
def committed() -> Any:
    return json.loads(VECTORS.read_text())


def test_the_code_makes_the_committed_vectors(committed: Any) -> None:
    assert make() == committed


def test_each_preimage_is_what_the_document_says(committed: Any) -> None:
    for case in committed["valid"]:
        document, preimages = case["document"], case["preimages"]
        digests = {
            part: ["0x" + keccak(bytes.fromhex(p[2:])).hex() for p in of_part]
            for part, of_part in preimages.items()
        }
        assert digests.get("votes", []) == [vote["id"] for vote in document["votes"]]
        groups = [group["digest"] for t in document["timeouts"] for group in t["groups"]]
        assert digests.get("timeouts", []) == groups
        if document["link"] is not None:
            assert digests["link"] == [document["votes"][0]["header"]["link"]]


def test_the_valid_ones_convict_from_the_json_alone(committed: Any) -> None:
    for case in committed["valid"]:
        content = json.dumps({**case["document"], "members": committed["members"]}).encode()
        document = verify_file(content, CONTEXT, TABLE)
        assert encode_document(document) == encode_document(verify_file(content, CONTEXT, TABLE))
        assert document.accused


def test_the_invalid_ones_convict_nobody_whoever_they_name(committed: Any) -> None:
    for case in committed["invalid"]:
        for accused in ([], [2], [2, 4]):
            made = {**case["document"], "accused": accused, "members": committed["members"]}
            with pytest.raises(EvidenceNotValid):
                verify_file(json.dumps(made).encode(), CONTEXT, TABLE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accused", [1]),
        ("id", "0x" + "00" * 32),
        ("domain", "0x" + "11" * 32),
        ("network", "0x" + "11" * 32),
        ("epoch", 4),
        ("configuration", "0x" + "11" * 32),
        ("kind", "two-timeouts"),
        ("format", "didyma-evidence-2"),
        ("link", None),
        ("members", []),
        ("surplus", 1),
    ],
)
def test_a_file_that_says_anything_else_is_refused(committed: Any, field: str, value: Any) -> None:
    case = next(c for c in committed["valid"] if c["document"]["kind"] == "hidden-certificate")
    sound = {**case["document"], "members": committed["members"]}
    verify_file(json.dumps(sound).encode(), CONTEXT, TABLE)
    with pytest.raises(EvidenceNotValid):
        verify_file(json.dumps({**sound, field: value}).encode(), CONTEXT, TABLE)


def test_other_keys_convict_nobody(committed: Any) -> None:
    case = committed["valid"][0]
    content = json.dumps({**case["document"], "members": committed["members"]}).encode()
    turned = (*CONTEXT.configuration.members[1:], CONTEXT.configuration.members[0])
    other = replace(CONTEXT, configuration=replace(CONTEXT.configuration, members=turned))
    with pytest.raises(EvidenceNotValid):
        verify_file(content, other, TABLE)


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(make(), indent=1) + "\n")
