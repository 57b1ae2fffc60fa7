"""A report's JSON form: what goes in comes out, and nothing that was changed goes unnoticed."""

import json

import pytest

from aggregation.encoding import UNAVAILABLE_ANSWER, encode_answer, pack_words
from aggregation.status import Status
from consensus.messages import Header
from node.report import (
    Report,
    ReportError,
    answers_of,
    price_text,
    report_from_json,
    report_to_json,
)

FEEDS = (("BTC/USD", 7), ("ETH/USD", 8), ("JPY/USD", 0))
WORDS = pack_words(
    [
        encode_answer(643_211_234_5670, 32_000_000, Status.LIVE),
        UNAVAILABLE_ANSWER,
        encode_answer(155, 1, Status.DEGRADED),
    ]
)
REPORT = Report(
    network=b"\x01" * 32,
    epoch=0,
    header=Header(5, 1_700_000_000_000, b"\x02" * 32, b"\x03" * 32),
    id=b"\x04" * 32,
    words=WORDS,
    bitmap=0b111,
    signature=b"\x05" * 96,
    answers=answers_of(WORDS, FEEDS),
    signers=("ada", "bob", "eve"),
)


def test_a_report_survives_its_json_form() -> None:
    text = json.dumps(report_to_json(REPORT, b"\xab\xcd"))
    read = report_from_json(text)
    assert read.report == REPORT
    assert read.push_calldata == b"\xab\xcd"
    assert report_from_json(report_to_json(REPORT)).push_calldata is None


def test_answers_are_told_in_decimals() -> None:
    form = report_to_json(REPORT)["answers"]
    assert form == [
        {"feed": "BTC/USD", "price": "643211.2345670", "confidence_ppm": 5, "status": "live"},
        {"feed": "ETH/USD", "price": "0.00000000", "confidence_ppm": None, "status": "unavailable"},
        {"feed": "JPY/USD", "price": "155", "confidence_ppm": 6464, "status": "degraded"},
    ]
    assert price_text(REPORT.answers[0]) == "643211.2345670"


def test_no_flipped_bit_of_the_file_reads_as_the_same_report() -> None:
    text = json.dumps(report_to_json(REPORT, b"\xab\xcd"), separators=(",", ":")).encode()
    original = report_from_json(text)
    for position in range(len(text)):
        for bit in range(8):
            changed = bytearray(text)
            changed[position] ^= 1 << bit
            try:
                assert report_from_json(bytes(changed)) != original
            except ReportError:
                continue


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("words", ["0x" + "0" * 64], "do not agree"),
        ("words", [], "words"),
        ("id", "0x12", "id"),
        ("bitmap", "0x7", "bitmap"),
        ("epoch", -1, "epoch"),
        ("epoch", 1.5, "epoch"),
        ("surprise", 1, "surprise"),
        ("answers", [], "do not agree"),
    ],
)
def test_a_malformed_report_is_refused_with_the_place(field: str, value: object, says: str) -> None:
    form = report_to_json(REPORT) | {field: value}
    with pytest.raises(ReportError, match=says):
        report_from_json(form)


def test_an_answer_that_differs_from_its_word_is_refused() -> None:
    form = json.loads(json.dumps(report_to_json(REPORT)))
    form["answers"][0]["price"] = "643211.2345671"
    with pytest.raises(ReportError, match="BTC/USD"):
        report_from_json(form)


def test_a_huge_or_hostile_file_is_refused() -> None:
    for data in (b" " * (1 << 21), b"[" * 100_000, b"\xff", b"null", b"{}"):
        with pytest.raises(ReportError):
            report_from_json(data)
