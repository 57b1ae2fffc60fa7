"""A certified report, and its JSON form: what the API serves and `didyma reports verify` reads.

A report that was decoded has the right shape, and its answers say the same as its words. Whether it
is *genuine* (signature, quorum, feed root, id) only a committee file can tell: see
`node.report_verification`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from aggregation.encoding import decode_answer, unpack_words
from aggregation.status import Status
from aggregation.table import FEEDS_PER_WORD
from consensus.messages import Header
from consensus.types import MEMBERS_MAX

REPORT_BYTES_MAX: Final = 1 << 20
"""No report file is longer."""

WORDS_MAX: Final = 1 << 12
_PRICE = re.compile(r"(0|[1-9][0-9]{0,14})(?:\.([0-9]{1,15}))?")


@dataclass(frozen=True, slots=True)
class Answer:
    """The agreed price of one feed: `price` is scaled by 10**`decimals`.

    `confidence_ppm` is None if it is unknown or beyond what an answer can hold.
    """

    feed: str
    price: int
    decimals: int
    confidence_ppm: int | None
    status: Status


@dataclass(frozen=True, slots=True)
class Report:
    """The answers of one view under a certificate.

    `id` is the header's digest under the epoch's domain, `bitmap` has bit i set if member i signed,
    `signature` is the compressed aggregate (96 bytes), `signers` are the names of the signers
    where they are known.
    """

    network: bytes
    epoch: int
    header: Header
    id: bytes
    words: tuple[int, ...]
    bitmap: int
    signature: bytes
    answers: tuple[Answer, ...]
    signers: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[int, int]:
        """Where this report stands in time: reports of one network are totally ordered by it."""
        return (self.epoch, self.header.view)


class ReportError(ValueError):
    """A report file is malformed; the text says where."""


def answers_of(words: Sequence[int], feeds: Sequence[tuple[str, int]]) -> tuple[Answer, ...]:
    """Return the answers in words, given each feed's name and decimals in table order.

    Raises ValueError if the words are not as many as the feeds need, or not as members write them.
    """
    due = -(-len(feeds) // FEEDS_PER_WORD)
    if len(words) != due:
        raise ValueError(f"{len(feeds)} feeds need {due} words, not {len(words)}")
    decoded = [decode_answer(answer) for answer in unpack_words(words)]
    return tuple(
        Answer(feed, answer.price, decimals, answer.confidence_ppm, answer.status)
        for (feed, decimals), answer in zip(feeds, decoded, strict=False)
    )


# The JSON form. Hexadecimal is lower-case and of one width, decimals are canonical: whatever is
# changed in a field, even a letter's case, is noticed.

_Text = Annotated[str, Meta(min_length=1, max_length=64)]
_Integer = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Bytes32 = Annotated[str, Meta(pattern="^0x[0-9a-f]{64}$")]
_Bytes96 = Annotated[str, Meta(pattern="^0x[0-9a-f]{192}$")]
_HexText = Annotated[str, Meta(pattern="^0x([0-9a-f]{2})*$")]


class _HeaderFile(Struct, frozen=True, forbid_unknown_fields=True):
    view: _Integer
    observed_at_ms: _Integer
    feed_root: _Bytes32
    link: _Bytes32


class _AnswerFile(Struct, frozen=True, forbid_unknown_fields=True):
    feed: _Text
    price: Annotated[str, Meta(max_length=40)]
    confidence_ppm: _Integer | None
    status: _Text


class _CalldataFile(Struct, frozen=True, forbid_unknown_fields=True):
    push: _HexText


class _ReportFile(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    network: _Bytes32
    epoch: _Integer
    header: _HeaderFile
    id: _Bytes32
    words: Annotated[tuple[_Bytes32, ...], Meta(min_length=1, max_length=WORDS_MAX)]
    bitmap: _Bytes32
    signature: _Bytes96
    signers: Annotated[tuple[_Text, ...], Meta(max_length=MEMBERS_MAX)]
    answers: Annotated[tuple[_AnswerFile, ...], Meta(max_length=WORDS_MAX * FEEDS_PER_WORD)]
    calldata: _CalldataFile | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_ReportFile)


@dataclass(frozen=True, slots=True)
class ReportFile:
    """What a report file holds: the report, and the calldata of `push` if it is there."""

    report: Report
    push_calldata: bytes | None


def report_to_json(report: Report, push_calldata: bytes | None = None) -> dict[str, object]:
    """Return the JSON form of a report, in JSON's own types, with the calldata that pushes it."""
    built: dict[str, object] = msgspec.json.decode(encode_report(report, push_calldata))
    return built


def encode_report(report: Report, push_calldata: bytes | None = None) -> bytes:
    """Return the JSON form of a report as it is sent and kept."""
    header = report.header
    form = _ReportFile(
        network=_hex(report.network),
        epoch=report.epoch,
        header=_HeaderFile(
            header.view, header.observed_at_ms, _hex(header.feed_root), _hex(header.link)
        ),
        id=_hex(report.id),
        words=tuple(_hex(word.to_bytes(32, "big")) for word in report.words),
        bitmap=_hex(report.bitmap.to_bytes(32, "big")),
        signature=_hex(report.signature),
        signers=report.signers,
        answers=tuple(_answer_file(answer) for answer in report.answers),
        calldata=None if push_calldata is None else _CalldataFile(_hex(push_calldata)),
    )
    return _encoder.encode(form)


def report_from_json(data: bytes | str | Mapping[str, object]) -> ReportFile:
    """Read the JSON form of a report; raise ReportError, saying where it is malformed.

    Words and answers are compared, the calldata is not.
    """
    try:
        if isinstance(data, bytes | str):
            if len(data) > REPORT_BYTES_MAX:
                raise ReportError(f"longer than {REPORT_BYTES_MAX} bytes")
            form = _decoder.decode(data)
        else:
            form = msgspec.convert(dict(data), _ReportFile)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ReportError(f"not a report: {error}") from None
    words = tuple(int(word, 16) for word in form.words)
    feeds = tuple((answer.feed, _decimals(answer)) for answer in form.answers)
    try:
        answers = answers_of(words, feeds)
    except ValueError as error:
        raise ReportError(f"words and answers do not agree: {error}") from None
    for answer, stated in zip(answers, form.answers, strict=True):
        if _answer_file(answer) != stated:
            raise ReportError(
                f"the answer of {answer.feed} is not what the words say: "
                f"{price_text(answer)}, {answer.confidence_ppm} ppm, {answer.status.name.lower()}"
            )
    header = form.header
    report = Report(
        network=_unhex(form.network),
        epoch=form.epoch,
        header=Header(
            header.view, header.observed_at_ms, _unhex(header.feed_root), _unhex(header.link)
        ),
        id=_unhex(form.id),
        words=words,
        bitmap=int(form.bitmap, 16),
        signature=_unhex(form.signature),
        answers=answers,
        signers=form.signers,
    )
    return ReportFile(report, None if form.calldata is None else _unhex(form.calldata.push))


def price_text(answer: Answer) -> str:
    """Return an answer's price as a decimal number with all of its feed's decimals."""
    if answer.decimals == 0:
        return str(answer.price)
    whole, fraction = divmod(answer.price, 10**answer.decimals)
    return f"{whole}.{fraction:0{answer.decimals}}"


def _answer_file(answer: Answer) -> _AnswerFile:
    return _AnswerFile(
        answer.feed, price_text(answer), answer.confidence_ppm, answer.status.name.lower()
    )


def _decimals(answer: _AnswerFile) -> int:
    match = _PRICE.fullmatch(answer.price)
    if match is None:
        raise ReportError(f"the price of {answer.feed} is not a decimal number")
    return len(match[2] or "")


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])
