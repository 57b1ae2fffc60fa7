"""What the page asks of the public API, over real sockets and without a browser."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.member import MemberPrice, Shortage
from aggregation.quote import RejectReason
from aggregation.sources import UsedSource
from aggregation.table import FeedTable
from node.api.onlookers import HISTORY_FEEDS_MAX
from node.api.page_files import PAGE_FILES
from node.api.server import ApiServer, Listeners
from node.api.view import (
    CommitteeView,
    Identity,
    NodeView,
    OffenceView,
    SourceView,
    ViewCell,
)
from node.incidents import ALARMS_KEPT, STATUS_CHANGES_KEPT, Incident, IncidentLog
from node.metrics import Metrics
from node.participation import CERTIFICATES_KEPT, Participation
from node.price_history import PricePoint
from node.store import ArchiveReader, Store

VENUES = ("kraken", "bitstamp", "gemini", "bitfinex")
SECRET = "proxy http://user:word@10.1.2.3 refused"
Get = Callable[..., Awaitable[tuple[int, Any, Any]]]


def spec(base: str) -> FeedSpec:
    sources = tuple(SourceSpec(venue, base, "USD", 10, 5_000) for venue in VENUES)
    return FeedSpec(base, "USD", 2, 1, 3, 1_000, 1_000, 30_000, sources)


def node_view(count: int = 2, **changes: Any) -> NodeView:
    table = FeedTable(tuple(spec(f"TKN{number}") for number in range(count)))
    first = table.feeds[0].sources
    price = MemberPrice(
        10_000,
        3,
        0,
        2,
        tuple(UsedSource(source, 10_000, 1, 10) for source in first[:2]),
        ((first[2], RejectReason.STALE),),
        frozenset({first[1].key}),
    )
    lacking = MemberPrice(0, 0, 0, 0, shortage=Shortage.TOO_FEW_SOURCES)
    now_ms = time.time_ns() // 1_000_000
    view = NodeView(
        made_at_ns=time.monotonic_ns(),
        identity=Identity("0.1.0", "test", "0x11", "0x22", "one", 0, "ab" * 16, 5),
        committee=CommitteeView(0, "0x33", 2**50, 1, 3, (), ()),
        view=7,
        height=5,
        rounds_certified=6,
        rounds_committed=5,
        timeouts=1,
        latest=None,
        sources=(
            SourceView("kraken", "TKN0/USD", True, "", 12, 1, now_ms - 300, "live"),
            SourceView("gemini", "TKN0/USD", False, SECRET, 12, 1, now_ms - 60_000, "stale"),
        ),
        history=(PricePoint(1_000, (10_050, 0), (3, 0)), PricePoint(3_000, (9, 5_000), (0, 5))),
        feed_table=table,
        own_prices=(price, *([lacking] * (count - 1))),
    )
    return replace(view, **changes)


def serve(directory: Path, view: NodeView, body: Callable[[Get], Awaitable[None]]) -> None:
    async def main() -> None:
        cell = ViewCell()
        cell.swap(view)
        Store.create(directory / "data").close()
        server = ApiServer(
            cell=cell,
            archive=ArchiveReader(directory / "data"),
            network_file=b"{}",
            metrics=Metrics(process=False),
        )
        at = await server.start(Listeners(("127.0.0.1", 0)))
        assert at.api is not None
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{at.api[1]}") as client:

                async def get(path: str, **options: Any) -> tuple[int, Any, Any]:
                    async with client.get(path, **options) as response:
                        text = await response.read()
                        is_json = response.content_type == "application/json"
                        return response.status, json.loads(text) if is_json else text, response

                await body(get)
        finally:
            await server.stop()

    asyncio.run(main())


def test_sources_tell_state_age_and_use_but_not_what_others_said(tmp_path: Path) -> None:
    async def body(get: Get) -> None:
        status, document, _ = await get("/v1/sources?feed=TKN0/USD")
        assert status == 200
        kraken, bitstamp, gemini, bitfinex = document["sources"]
        assert (kraken["state"], kraken["reason"], kraken["use"]) == ("live", "", "used")
        assert 300 <= kraken["age_ms"] < 60_000
        assert bitstamp["use"] == "outlier"
        # The state says how it fails; what was said of the connection is the operator's.
        assert (gemini["state"], gemini["use"]) == ("stale", "rejected")
        assert gemini["age_ms"] >= 60_000
        assert gemini["reason"]
        assert "10.1.2.3" not in json.dumps(document)
        assert (bitfinex["state"], bitfinex["age_ms"]) == ("waiting", None)
        _, document, _ = await get("/v1/sources?feed=TKN1/USD")
        assert document["shortage"] == "fewer sources than the feed's minimum"
        assert {source["use"] for source in document["sources"]} == {"unused"}
        for path, code in (
            ("/v1/sources", "parameter_missing"),
            ("/v1/sources?feed=<b>", "no_such_feed"),
        ):
            _, document, _ = await get(path)
            assert document["error"]["code"] == code

    serve(tmp_path, node_view(), body)


def test_history_has_a_price_only_where_one_was_agreed(tmp_path: Path) -> None:
    async def body(get: Get) -> None:
        _, document, response = await get("/v1/history")
        assert document["times_ms"] == [1_000, 3_000]
        first, second = document["feeds"]
        assert first["prices"] == ["100.50", "0.09"]
        assert second["prices"] == [None, "50.00"]
        assert second["confidence_ppm"][0] is None
        assert second["confidence_ppm"][1] >= 1_000
        _, document, _ = await get("/v1/history?feeds=TKN1/USD")
        assert [feed["feed"] for feed in document["feeds"]] == ["TKN1/USD"]
        tag = {"If-None-Match": response.headers["ETag"]}
        assert (await get("/v1/history", headers=tag))[0] == 304
        assert (await get("/v1/history?feeds=TKN1/USD,none"))[0] == 404

    serve(tmp_path, node_view(), body)


def test_history_is_bounded(tmp_path: Path) -> None:
    async def body(get: Get) -> None:
        status, document, _ = await get("/v1/history")
        assert (status, document["error"]["code"]) == (400, "too_many_feeds")
        names = ",".join(f"TKN{number}/USD" for number in range(HISTORY_FEEDS_MAX))
        assert (await get(f"/v1/history?feeds={names}"))[0] == 200
        # The same one many times is not more than all.
        again = ",".join(["TKN0/USD"] * 150)
        assert (await get(f"/v1/history?feeds={again}"))[0] == 400

    serve(tmp_path, node_view(HISTORY_FEEDS_MAX + 1), body)


def test_participation_and_incidents(tmp_path: Path) -> None:
    participation = Participation(("one", "two", "three", "four"))
    participation.certified(6, 6_000, 2, (0, 1, 3), (0, 1, 2, 3))
    participation.certified(7, 6_250, 3, (0, 1, 2), (0, 1, 2))
    offence = OffenceView("two", "two_votes", 0, 3, 9, "0xee")
    change = Incident(6_000, "feed_status", feed="TKN0/USD", status="halted", cause="jump")

    async def body(get: Get) -> None:
        _, document, _ = await get("/v1/participation")
        newest = document["certificates"][-1]
        assert newest == {
            "view": 7, "observed_at_ms": 6_250, "leader": 3, "signers": "0x7", "observers": "0x7",
        }  # fmt: skip
        four = document["members"][3]
        assert (four["member"], four["last_signed_view"], four["last_observed_at_ms"]) == (
            "four", 6, 6_000,
        )  # fmt: skip
        _, document, _ = await get("/v1/incidents")
        assert document["incidents"][0]["cause"] == "jump"
        assert document["evidence"][0]["member"] == "two"
        assert document["fairness_alarms"] == []

    serve(
        tmp_path,
        node_view(
            participation=participation.view(), incidents=(change,), offences=(offence,)
        ),
        body,
    )  # fmt: skip


def test_accounts_are_bounded() -> None:
    participation = Participation(("one",))
    for view in range(3 * CERTIFICATES_KEPT):
        participation.certified(view, view, 0, (0,), (0,))
    certificates = participation.view().certificates
    assert len(certificates) == CERTIFICATES_KEPT
    assert certificates[-1].view == 3 * CERTIFICATES_KEPT - 1
    log = IncidentLog()
    log.add(Incident(1, "fairness_alarm", alarm="left_out"))
    for at_ms in range(2, 3 * STATUS_CHANGES_KEPT):
        log.add(Incident(at_ms, "feed_status", feed="BTC/USD"))
    # A feed that flaps displaces no alarm.
    assert log.newest[-1].kind == "fairness_alarm"
    assert log.newest[0].at_ms == 3 * STATUS_CHANGES_KEPT - 1
    assert len(log.newest) == STATUS_CHANGES_KEPT + 1 <= STATUS_CHANGES_KEPT + ALARMS_KEPT


@pytest.mark.parametrize("name", PAGE_FILES)
def test_the_page_s_files_are_served_under_the_policy(tmp_path: Path, name: str) -> None:
    async def body(get: Get) -> None:
        path = "/" if name == "index.html" else f"/page/{name}"
        status, text, response = await get(path)
        assert (status, response.content_type) == (200, PAGE_FILES[name])
        assert response.headers["Content-Encoding"] == "gzip"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        # No address that a reverse proxy's path would break or the policy refuse.
        for foreign in (b'src="/', b'href="/', b"https://", b"<script>", b" style=", b"innerHTML"):
            assert foreign not in text
        tag = {"If-None-Match": response.headers["ETag"]}
        assert (await get(path, headers=tag))[0] == 304
        plain, as_it_is, response = await get(path, headers={"Accept-Encoding": "identity"})
        assert (plain, as_it_is) == (200, text)
        assert "Content-Encoding" not in response.headers
        assert (await get(path + "?utm=x"))[0] == 200

    serve(tmp_path, node_view(), body)
