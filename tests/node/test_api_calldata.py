"""Reports get their calldata when they are read, and verify with it."""

import msgspec
from blspy import PopSchemeMPL

from aggregation.encoding import encode_answer, pack_words
from aggregation.status import Status
from consensus.messages import Header
from contracts.client import certificate_of, encode_push
from node.api.calldata import CompleteReports, with_calldata
from node.report import Report, answers_of, report_from_json, report_to_json

WORDS = pack_words([encode_answer(643_211, 10, Status.LIVE)])
SIGNATURE = bytes(PopSchemeMPL.sign(PopSchemeMPL.key_gen(bytes(32)), b"header"))


def body(signature: bytes = SIGNATURE) -> bytes:
    report = Report(
        network=b"\x01" * 32,
        epoch=0,
        header=Header(5, 1_700_000_000_000, b"\x02" * 32, b"\x03" * 32),
        id=b"\x04" * 32,
        words=WORDS,
        bitmap=0b111,
        signature=signature,
        answers=answers_of(WORDS, [("BTC/USD", 7)]),
        signers=("ada", "bob", "eve"),
    )
    return msgspec.json.encode(report_to_json(report))


def test_calldata_is_added_once_and_is_that_of_push() -> None:
    complete = CompleteReports()
    served = complete.complete(body())
    read = report_from_json(served)
    report = read.report
    certificate = certificate_of(report.epoch, report.header, report.bitmap, SIGNATURE)
    assert read.push_calldata == encode_push(certificate, report.words)
    assert complete.complete(body()) is served
    assert with_calldata(served) == served


def test_a_report_whose_calldata_cannot_be_made_is_served_as_it_is() -> None:
    complete = CompleteReports()
    for odd in (body(b"\x05" * 96), b"{}", b"\xff"):
        assert complete.complete(odd) == odd


def test_a_bounded_number_is_remembered() -> None:
    complete = CompleteReports()
    first = complete.complete(body())
    for number in range(70):
        other = msgspec.json.decode(body())
        other["header"]["view"] = 100 + number
        complete.complete(msgspec.json.encode(other))
    assert len(complete._kept) == 64
    again = complete.complete(body())
    assert again == first
    assert again is not first
