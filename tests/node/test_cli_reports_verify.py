"""A genuine report verifies; anything that was changed in it does not."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from blspy import G2Element, PopSchemeMPL
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.encoding import UNAVAILABLE_ANSWER, encode_answer, feed_root, pack_words
from aggregation.status import Status
from aggregation.table import FeedTable
from consensus.messages import Header
from contracts.client import Certificate, encode_push
from contracts.points import decompress_g2
from feeds.catalogue import load_catalogue
from node import network_file
from node.cli import main
from node.keys.account_key import AccountKey
from node.keys.bls_key import BlsKey
from node.keys.identity_key import IdentityKey
from node.keys.key_set import KeySet
from node.network_file import NetworkFile
from node.registration import register
from node.report import Report, answers_of, report_to_json
from node.report_verification import ReportNotGenuine, verify_report

N = 4
KEYS = [BlsKey(bytes(31) + bytes([index + 1])) for index in range(N)]


@cache
def network(name: str = "testing") -> NetworkFile:
    members = []
    for index, key in enumerate(KEYS):
        secret = bytes(31) + bytes([index + 1])
        keys = KeySet(IdentityKey(secret), key, AccountKey(secret))
        members.append(register(f"member-{index}", keys))
    table = FeedTable(load_catalogue(None).feeds[:4])
    made = network_file.create(
        name,
        members,
        table,
        genesis_time_ms=0,
        valid_until_ms=10**12,
    )
    for key in KEYS:
        made = network_file.sign(made, key)
    return made


def report(
    signers: tuple[int, ...] = (0, 2, 3), view: int = 5, observed_at_ms: int = 10**11
) -> Report:
    """Return a report that these members signed."""
    committee = network()
    words = pack_words(
        [encode_answer(10**9 + index, 10**5, Status.LIVE) for index in range(3)]
        + [UNAVAILABLE_ANSWER]
    )
    header = Header(view, observed_at_ms, feed_root(words), b"\x07" * 32)
    digest = header.id(committee.context.domain)
    shares = [G2Element.from_bytes(KEYS[signer].sign(digest)) for signer in signers]
    return Report(
        network=committee.network,
        epoch=0,
        header=header,
        id=digest,
        words=words,
        bitmap=sum(1 << signer for signer in signers),
        signature=bytes(PopSchemeMPL.aggregate(shares)),
        answers=answers_of(words, [(f.pair, f.decimals) for f in committee.table.feeds]),
        signers=tuple(committee.member_names[signer] for signer in signers),
    )


def content_of(subject: Report) -> bytes:
    """Return the file of a report, with the calldata that belongs to it."""
    try:
        signature = decompress_g2(subject.signature)
    except ValueError:
        signature = bytes(192)
    certificate = Certificate(subject.epoch, subject.header, subject.bitmap, signature)
    try:
        calldata = encode_push(certificate, subject.words)
    except ValueError:
        # Signers beyond the 128 of a place: a node serves such a report without.
        calldata = None
    return json.dumps(report_to_json(subject, calldata), indent=2).encode()


GENUINE = content_of(report())


def problems_of(content: bytes) -> set[str]:
    with pytest.raises(ReportNotGenuine) as caught:
        verify_report(content, network())
    return {problem.key for problem in caught.value.problems}


@pytest.mark.parametrize("signers", [(0, 1, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_a_report_of_any_quorum_is_genuine(signers: tuple[int, ...]) -> None:
    subject = report(signers)
    assert verify_report(content_of(subject), network()) == subject
    assert verify_report(json.dumps(report_to_json(subject)).encode(), network()) == subject


@settings(max_examples=150)
@given(st.integers(0, len(GENUINE) - 1), st.integers(0, 7))
def test_no_changed_bit_goes_unnoticed(position: int, bit: int) -> None:
    changed = bytearray(GENUINE)
    changed[position] ^= 1 << bit
    with pytest.raises(ReportNotGenuine):
        verify_report(bytes(changed), network())


@pytest.mark.slow
def test_no_changed_bit_at_all_goes_unnoticed() -> None:
    for position in range(len(GENUINE)):
        for bit in range(8):
            changed = bytearray(GENUINE)
            changed[position] ^= 1 << bit
            with pytest.raises(ReportNotGenuine):
                verify_report(bytes(changed), network())


def leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key], (*at, key))]
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*at, i))]
    return [at]


@pytest.mark.parametrize("path", leaves(json.loads(GENUINE)), ids=str)
@pytest.mark.parametrize("replacement", [None, 0, "", "0x", "0x00", [], {}, True, 1.0, 2**64])
def test_no_field_can_be_anything_else(path: tuple[Any, ...], replacement: object) -> None:
    document = json.loads(GENUINE)
    parent = document
    for part in path[:-1]:
        parent = parent[part]
    if type(parent[path[-1]]) is type(replacement) and parent[path[-1]] == replacement:
        return  # this is what it was
    parent[path[-1]] = replacement
    problems_of(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (lambda r: replace(r, network=bytes(32)), {"network"}),
        (lambda r: replace(r, epoch=1), {"epoch"}),
        (lambda r: replace(r, id=bytes(32)), {"id"}),
        (lambda r: replace(r, signers=r.signers[::-1]), {"signers"}),
        (lambda r: replace(r, signers=()), {"signers"}),
        (lambda r: replace(r, bitmap=r.bitmap | 2), {"signers", "signature"}),
        (lambda r: replace(r, bitmap=r.bitmap | 1 << N), {"bitmap"}),
        (lambda r: replace(r, bitmap=1 << 255), {"bitmap"}),
        (lambda r: replace(r, bitmap=0, signers=()), {"bitmap"}),
        (lambda r: replace(r, signature=b"\xc0" + bytes(95)), {"signature", "calldata.push"}),
        (lambda r: replace(r, signature=bytes(96)), {"signature", "calldata.push"}),
        (
            lambda r: replace(r, header=Header(6, r.header.observed_at_ms, *_roots(r))),
            {"id", "signature"},
        ),
    ],
)
def test_what_was_changed_is_named(change: Callable[[Report], Report], fields: set[str]) -> None:
    assert problems_of(content_of(change(report()))) == fields


def _roots(subject: Report) -> tuple[bytes, bytes]:
    return subject.header.feed_root, subject.header.link


def test_fewer_than_a_quorum_certify_nothing() -> None:
    assert problems_of(content_of(report(signers=(0, 1)))) == {"bitmap"}


def test_neither_the_genesis_nor_a_time_after_the_end_is_a_report() -> None:
    assert problems_of(content_of(report(view=0))) == {"header.view"}
    assert problems_of(content_of(report(observed_at_ms=10**12 + 1))) == {"header.observed_at_ms"}


def test_another_price_needs_another_certificate() -> None:
    subject = report()
    words = pack_words([encode_answer(10**10, 10**5, Status.LIVE)] + [UNAVAILABLE_ANSWER] * 3)
    feeds = [(feed.pair, feed.decimals) for feed in network().table.feeds]
    forged = replace(subject, words=words, answers=answers_of(words, feeds))
    assert problems_of(content_of(forged)) == {"words"}
    header = Header(5, subject.header.observed_at_ms, feed_root(words), subject.header.link)
    signed_over = replace(forged, header=header, id=header.id(network().context.domain))
    assert problems_of(content_of(signed_over)) == {"signature"}


def test_feeds_cannot_be_renamed_or_rescaled() -> None:
    subject = report()
    for feeds in (
        [(f.pair.lower(), f.decimals) for f in network().table.feeds],
        [(f.pair, f.decimals + 1) for f in network().table.feeds],
    ):
        assert problems_of(
            content_of(replace(subject, answers=answers_of(subject.words, feeds)))
        ) == {"answers"}


def test_a_report_is_of_one_network_only() -> None:
    with pytest.raises(ReportNotGenuine):
        verify_report(GENUINE, network("another"))


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("committee") / "network.json"
    network_file.save(path, network())
    return path


def verify(*arguments: str | Path, content: bytes | None = None) -> Result:
    command = ["reports", "verify", *map(str, arguments)]
    result = CliRunner().invoke(main, command, input=content)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_the_command_tells_genuine_from_changed(tmp_path: Path, committee: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(GENUINE)
    genuine = verify(file, "--network", committee)
    assert genuine.exit_code == 0
    assert "Valid: view 5" in genuine.stdout
    assert "quorum 3 of 4" in genuine.stdout
    file.write_bytes(GENUINE.replace(b'"view": 5', b'"view": 4'))
    changed = verify(file, "--network", committee, "--json")
    assert changed.exit_code == 1
    problems = json.loads(changed.stderr)["error"]["problems"]
    assert {problem["key"] for problem in problems} == {"id", "signature", "calldata.push"}


def test_the_command_reads_standard_input_in_a_process_of_its_own(committee: Path) -> None:
    command = [sys.executable, "-m", "node.cli", "reports", "verify", "-", "--json"]
    command += ["--network", str(committee)]
    done = subprocess.run(command, input=GENUINE, capture_output=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is True
    assert answer["signers"] == ["member-0", "member-2", "member-3"]
    assert answer["answers"][3]["status"] == "unavailable"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null", b"\xff", b"[" * 100_000, b" " * 2_000_000]
)
def test_what_is_no_report_is_refused_without_a_traceback(committee: Path, content: bytes) -> None:
    result = verify("-", "--network", committee, content=content)
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_a_missing_report_or_committee_has_its_own_code(tmp_path: Path, committee: Path) -> None:
    assert verify(tmp_path / "absent", "--network", committee).exit_code == 3
    assert verify("-", "--network", tmp_path / "absent", content=GENUINE).exit_code == 3
