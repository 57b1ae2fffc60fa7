"""Proofs of single feeds' answers, and calldata for each way to bring them to a contract.

Numbers of 256 bits and bytes are hexadecimal text, as contract libraries take them: `update` can be
given as it is to a function that takes an `Update`, `encoded_update` to one that takes bytes and
decodes an `Update`.
"""

from typing import Any, Final

import msgspec

from contracts import abi, client
from node.api.answers import ApiError
from node.report import Report, price_text, report_from_json

_NAME_MAX: Final = 32
_NAMES_SHOWN: Final = 20


def proof_document(body: bytes, feeds: str | None) -> bytes:
    """Return the proofs of these feeds (names or positions, with commas) in a report's JSON.

    Without `feeds`, of all. Takes a millisecond and more. Raises `ApiError`.
    """
    try:
        report = report_from_json(body).report
        certificate = client.certificate_of(
            report.epoch, report.header, report.bitmap, report.signature
        )
    except ValueError:
        raise ApiError(
            500, "report_unreadable", "the report here is damaged", "ask another node"
        ) from None
    indices = _wanted(report, feeds)
    claims = tuple(client.claim_of(index, report.words) for index in indices)
    update = client.Update(certificate, claims)
    return msgspec.json.encode(
        {
            "network": _hex(report.network),
            "epoch": report.epoch,
            "view": report.header.view,
            "observed_at_ms": report.header.observed_at_ms,
            "id": _hex(report.id),
            "feed_root": _hex(report.header.feed_root),
            "answers": [_answer(report, index) for index in indices],
            "update": {
                "certificate": _certificate(certificate),
                "claims": [_claim(claim) for claim in claims],
            },
            "encoded_update": _hex(abi.encode_tuple(update.encoded)),
            "calldata": {
                "push": _hex(client.encode_push(certificate, report.words)),
                "post": _hex(client.encode_post(certificate)),
                "prove": [
                    _hex(client.encode_prove(report.header.observed_at_ms, one)) for one in claims
                ],
                "update": _hex(client.encode_update([update])),
            },
        }
    )


def _wanted(report: Report, feeds: str | None) -> list[int]:
    names = [answer.feed for answer in report.answers]
    if feeds is None:
        return list(range(len(names)))
    indices = []
    for text in feeds.split(","):
        if text in names:
            index = names.index(text)
        elif text.isascii() and text.isdigit() and len(text) <= 4 and int(text) < len(names):
            index = int(text)
        else:
            known = ", ".join(names[:_NAMES_SHOWN])
            raise ApiError(
                404,
                "no_such_feed",
                f"the report has no feed {text[:_NAME_MAX]!r}",
                f"give feeds= as names or positions with commas between: {known}",
            )
        if index in indices:
            raise ApiError(
                400, "repeated_feed", f"{names[index]} is given more than once", "give it once"
            )
        indices.append(index)
    return indices


def _answer(report: Report, index: int) -> dict[str, object]:
    answer = report.answers[index]
    return {
        "index": index,
        "feed": answer.feed,
        "price": price_text(answer),
        "decimals": answer.decimals,
        "confidence_ppm": answer.confidence_ppm,
        "status": answer.status.name.lower(),
    }


def _certificate(certificate: client.Certificate) -> dict[str, Any]:
    signature = certificate.signature
    return {
        "signature": [_hex(signature[at : at + 32]) for at in range(0, len(signature), 32)],
        "link": _hex(certificate.header.link),
        "place": _word(certificate.place.word),
    }


def _claim(claim: client.Claim) -> dict[str, object]:
    return {
        "feed": claim.feed,
        "words": claim.words,
        "word": _word(claim.word),
        "path": [_hex(sibling) for sibling in claim.path],
    }


def _word(word: int) -> str:
    return f"0x{word:064x}"


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
