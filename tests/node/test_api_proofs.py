"""Proofs of single feeds over a real socket: what they show, and what is refused."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from blspy import PopSchemeMPL

from aggregation.encoding import encode_answer, feed_root, pack_words
from aggregation.status import Status
from consensus.messages import Header
from contracts import client
from node.api.server import ApiServer, Listeners
from node.api.view import CommitteeView, Identity, NodeView, PublishedReport, ViewCell
from node.metrics import Metrics
from node.report import Report, answers_of, encode_report
from node.store import ArchiveReader, Store

FEEDS = [("BTC/USD", 7), *((f"A{number}/USD", 8) for number in range(9))]
WORDS = pack_words([encode_answer(1_000 + i, 10, Status.LIVE) for i in range(len(FEEDS))])
REPORT = Report(
    network=b"\x01" * 32,
    epoch=0,
    header=Header(5, 1_700_000_000_000, feed_root(WORDS), b"\x03" * 32),
    id=b"\x04" * 32,
    words=WORDS,
    bitmap=0b111,
    signature=bytes(PopSchemeMPL.sign(PopSchemeMPL.key_gen(bytes(32)), b"header")),
    answers=answers_of(WORDS, FEEDS),
)
CERTIFICATE = client.certificate_of(0, REPORT.header, REPORT.bitmap, REPORT.signature)

Ask = Callable[[str], Awaitable[tuple[int, Any, Any]]]


def asked(directory: Path, body: bytes, scenario: Callable[[Ask], Awaitable[None]]) -> None:
    async def main() -> None:
        cell = ViewCell()
        latest = PublishedReport(0, 5, REPORT.id, REPORT.header.observed_at_ms, True, body)
        cell.swap(
            NodeView(
                made_at_ns=time.monotonic_ns(),
                identity=Identity("0.1.0", "test", "0x11", "0x22", "one", 0, "ab" * 16, 5),
                committee=CommitteeView(0, "0x33", 2**50, 1, 3, ("one",), ()),
                view=7,
                height=5,
                rounds_certified=6,
                rounds_committed=5,
                timeouts=1,
                latest=latest,
            )
        )
        with Store.create(directory / "data"):
            reader = ArchiveReader(directory / "data")
            server = ApiServer(
                cell=cell, archive=reader, network_file=b"{}", metrics=Metrics(process=False)
            )
            at = await server.start(Listeners(("127.0.0.1", 0), ("127.0.0.1", 0), ("127.0.0.1", 0)))
            assert at.api is not None
            try:
                async with aiohttp.ClientSession() as session:

                    async def ask(path: str) -> tuple[int, Any, Any]:
                        url = f"http://127.0.0.1:{at.api[1]}{path}"  # type: ignore[index]
                        async with session.get(url) as answer:
                            return answer.status, json.loads(await answer.read()), answer.headers

                    await scenario(ask)
            finally:
                await server.stop()
                reader.close()

    asyncio.run(main())


def test_a_proof_has_everything_that_a_contract_takes(tmp_path: Path) -> None:
    async def scenario(ask: Ask) -> None:
        status, proof, headers = await ask("/v1/reports/latest/proof?feeds=A3/USD,0")
        assert (status, headers["Didyma-Final"]) == (200, "true")
        assert [(a["feed"], a["index"], a["price"]) for a in proof["answers"]] == [
            ("A3/USD", 4, "0.00001004"),
            ("BTC/USD", 0, "0.0001000"),
        ]
        claims = (client.claim_of(4, WORDS), client.claim_of(0, WORDS))
        calldata = client.encode_update([client.Update(CERTIFICATE, claims)])
        assert proof["calldata"] == {
            "push": "0x" + client.encode_push(CERTIFICATE, WORDS).hex(),
            "post": "0x" + client.encode_post(CERTIFICATE).hex(),
            "prove": [
                "0x" + client.encode_prove(CERTIFICATE.header.observed_at_ms, claim).hex()
                for claim in claims
            ],
            "update": "0x" + calldata.hex(),
        }
        # The one element of the array that `update` takes, behind an offset of its own.
        assert proof["encoded_update"] == f"0x{32:064x}" + calldata[4 + 3 * 32 :].hex()
        update = proof["update"]
        assert update["claims"][0] == {
            "feed": 4,
            "words": 3,
            "word": f"0x{WORDS[1]:064x}",
            "path": ["0x" + sibling.hex() for sibling in claims[0].path],
        }
        signature = "".join(part[2:] for part in update["certificate"]["signature"])
        assert signature == CERTIFICATE.signature.hex()
        assert int(update["certificate"]["place"], 16) == CERTIFICATE.place.word
        status, proof, _ = await ask("/v1/reports/latest/proof")
        assert (status, len(proof["answers"])) == (200, 10)

    asked(tmp_path, encode_report(REPORT), scenario)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("latest/proof?feeds=DOGE/USD", 404, "no_such_feed"),
        ("latest/proof?feeds=", 404, "no_such_feed"),
        ("latest/proof?feeds=10", 404, "no_such_feed"),
        ("latest/proof?feeds=0,BTC/USD", 400, "repeated_feed"),
        ("latest/proof?feed=0", 400, "unknown_parameter"),
        ("latest/proof?epoch=0", 400, "unknown_parameter"),
        ("9/proof", 404, "no_such_report"),
        ("x/proof", 400, "not_a_number"),
    ],
)
def test_what_cannot_be_proven_is_refused(
    tmp_path: Path, path: str, status: int, code: str
) -> None:
    async def scenario(ask: Ask) -> None:
        found, answer, _ = await ask("/v1/reports/" + path)
        assert (found, answer["error"]["code"]) == (status, code)
        assert answer["error"]["remedy"]

    asked(tmp_path, encode_report(REPORT), scenario)


def test_a_damaged_report_is_no_proof(tmp_path: Path) -> None:
    async def scenario(ask: Ask) -> None:
        status, answer, _ = await ask("/v1/reports/latest/proof")
        assert (status, answer["error"]["code"]) == (500, "report_unreadable")

    asked(tmp_path, b'{"words":[]}', scenario)
