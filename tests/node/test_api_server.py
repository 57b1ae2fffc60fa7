"""The listeners over real sockets; asyncio runs inside plain tests."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from node.api.limits import ApiLimits, RequestRate, is_loopback
from node.api.server import ApiServer, Listeners, ListenFailed
from node.api.view import (
    ChainView,
    CommitteeView,
    FeedView,
    Identity,
    LatencyView,
    MemberView,
    NodeView,
    PeerView,
    PublishedReport,
    SourceView,
    ViewCell,
)
from node.metrics import Metrics
from node.store import ArchiveReader, Gap, Store, StoredReport, StoreError

EPHEMERAL = ("127.0.0.1", 0)
NETWORK_FILE = b'{"name":"test"}'


def report(view: int, *, final: bool = False, size: int = 0) -> PublishedReport:
    body = json.dumps({"header": {"view": view}, "filling": "x" * size}).encode()
    return PublishedReport(0, view, bytes(32), 1_000 * view, final, body)


def node_view(**changes: Any) -> NodeView:
    view = NodeView(
        made_at_ns=time.monotonic_ns(),
        identity=Identity("0.1.0", "test", "0x11", "0x22", "one", 0, "ab" * 16, 5),
        committee=CommitteeView(
            0, "0x33", 2**50, 1, 3, ("one", "two"), (MemberView("one", 0, "aa", "bb", "0xcc"),)
        ),
        view=7,
        height=5,
        rounds_certified=6,
        rounds_committed=5,
        timeouts=1,
        latest=report(6),
        feeds=(
            FeedView(
                0, "BTC/USD", 7, 1000, 30_000, 1, "64000.1234567", 130, "live", "", 6_000, 5, 6,
                ("one", "two", "three"),
            ),
            FeedView(
                1, "ETH/USD", 8, 1000, 30_000, 1, None, None, "unavailable", "few sources", None,
                0, 6, (),
            ),
        ),
        sources=(SourceView("kraken", "BTC/USD", True, "", 12, 1, 6_000),),
        peers=(
            PeerView("two", 1, True, 5, 6, 10, 11, 0, 0, 0, ""),
            PeerView("three", 2, False, None, None, 0, 0, 4, 0, 2, "refused 10.1.2.3"),
        ),
        chains=(ChainView("dev", 31337, "0xdd", True, "idle", 4, 4_000, 2, 0, 10**20, ""),),
        latencies=(LatencyView("observation_to_certificate", 6, 11.5, 20.0),),
    )  # fmt: skip
    return replace(view, **changes)


class Served:
    """A running server and a client of it."""

    def __init__(self, server: ApiServer, cell: ViewCell, at: Listeners, store: Store) -> None:
        assert at.api is not None
        assert at.control is not None
        assert at.metrics is not None
        self.server = server
        self.cell = cell
        self.store = store
        self.api = at.api
        self.url = f"http://127.0.0.1:{at.api[1]}"
        self.control = f"http://127.0.0.1:{at.control[1]}"
        self.metrics = f"http://127.0.0.1:{at.metrics[1]}"
        self.client = aiohttp.ClientSession()

    async def get(self, path: str, **options: Any) -> tuple[int, Any, Any]:
        url = path if path.startswith("http") else self.url + path
        async with self.client.get(url, **options) as response:
            body = await response.read()
            is_json = response.content_type == "application/json" and body
            return response.status, json.loads(body) if is_json else body, response.headers

    async def raw(self, request: bytes) -> bytes:
        """Send bytes, and return all that comes back before the server closes or falls silent."""
        reader, writer = await asyncio.open_connection(*self.api)
        writer.write(request)
        received = b""
        try:
            async with asyncio.timeout(5):
                while data := await reader.read(65536):
                    received += data
                    if b"\r\n\r\n" in received:
                        break
        except (TimeoutError, ConnectionError):
            pass
        writer.close()
        return received


def serve(
    directory: Path,
    body: Callable[[Served], Awaitable[None]],
    *,
    limits: ApiLimits | None = None,
    view: NodeView | None = None,
) -> None:
    async def main() -> None:
        cell = ViewCell()
        if view is not None:
            cell.swap(view)
        with Store.create(directory / "data") as store:
            reader = ArchiveReader(directory / "data")
            server = ApiServer(
                cell=cell,
                archive=reader,
                network_file=NETWORK_FILE,
                metrics=Metrics(process=False),
                limits=limits,
            )
            at = await server.start(Listeners(EPHEMERAL, EPHEMERAL, EPHEMERAL))
            served = Served(server, cell, at, store)
            try:
                await body(served)
            finally:
                await served.client.close()
                await server.stop()
                reader.close()

    asyncio.run(main())


def archived(published: PublishedReport) -> StoredReport:
    return StoredReport(
        published.epoch,
        published.view,
        published.id,
        published.observed_at_ms,
        published.final,
        published.body,
    )


def test_reports_are_served_latest_by_view_and_by_time(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        for view in (2, 4, 6):
            served.store.save_report(archived(report(view, final=view == 2)))
        status, latest, headers = await served.get("/v1/reports/latest")
        assert (status, latest["header"]["view"]) == (200, 6)
        assert headers["Didyma-Final"] == "false"
        assert headers["Cache-Control"] == "no-cache"
        assert headers["Access-Control-Allow-Origin"] == "*"

        status, found, headers = await served.get("/v1/reports/2")
        assert (status, found["header"]["view"]) == (200, 2)
        assert "immutable" in headers["Cache-Control"]
        tag = headers["ETag"]
        status, nothing, headers = await served.get("/v1/reports/2", headers={"If-None-Match": tag})
        assert (status, nothing, headers["ETag"]) == (304, b"", tag)

        status, found, _ = await served.get("/v1/reports?at_ms=5999")
        assert (status, found["header"]["view"]) == (200, 4)
        status, error, _ = await served.get("/v1/reports?at_ms=1")
        assert (status, error["error"]["code"]) == (404, "no_such_report")
        status, error, _ = await served.get("/v1/reports/3")
        assert (status, error["error"]["code"]) == (404, "no_such_report")
        status, error, _ = await served.get("/v1/reports/2?epoch=1")
        assert status == 404

    serve(tmp_path, body, view=node_view())


def test_what_the_node_skipped_is_said_plainly(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        served.store.save_report(StoredReport(0, 3, bytes(32), 3_000, True, report(3).body))
        for view, code in ((3, 200), (4, 404), (9, 404), (10, 404)):
            status, answer, _ = await served.get(f"/v1/reports/{view}")
            assert status == code
            if code == 404:
                skipped = answer["error"]["code"] == "report_skipped"
                assert skipped == (view < 10)
        _, status_document, _ = await served.get("/v1/status")
        assert status_document["gaps"] == [
            {"above_view": 2, "above_height": 2, "view": 9, "height": 8}
        ]

    serve(tmp_path, body, view=node_view(gaps=(Gap(2, 2, 9, 8),)))


def test_the_latest_report_after_a_restart_comes_from_the_archive(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        status, error, _ = await served.get("/v1/reports/latest")
        assert (status, error["error"]["code"]) == (503, "no_report_yet")
        served.store.save_report(archived(report(9)))
        status, latest, _ = await served.get("/v1/reports/latest")
        assert (status, latest["header"]["view"]) == (200, 9)

    serve(tmp_path, body, view=node_view(latest=None))


def test_feeds_committee_network_and_status(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        _, feeds, _ = await served.get("/v1/feeds")
        bitcoin, ether = feeds["feeds"]
        assert bitcoin["price"] == "64000.1234567"
        assert bitcoin["observers"] == ["one", "two", "three"]
        assert bitcoin["age_ms"] > 0
        assert (ether["price"], ether["age_ms"], ether["cause"]) == (None, None, "few sources")
        _, committee, _ = await served.get("/v1/committee")
        assert committee["quorum"] == 3
        assert committee["members"][0]["name"] == "one"
        _, network, _ = await served.get("/v1/network")
        assert network == {"name": "test"}
        status, public, _ = await served.get("/v1/status")
        assert status == 200
        assert public["committee"] == {"members": 1, "quorum": 3, "connected": 2}
        assert public["ready"] is True
        # What only the operator may know is on the control listener.
        assert "peers" not in public
        assert "10.1.2.3" not in json.dumps(public)
        _, full, _ = await served.get(served.control + "/v1/status")
        assert full["peers"][1]["last_error"] == "refused 10.1.2.3"
        assert full["chains"][0]["balance_wei"] == str(10**20)
        assert full["fairness_alarms"] == []
        _, fairness, _ = await served.get(served.control + "/v1/fairness")
        assert (fairness["epoch"], fairness["alarms"]) == (0, [])
        assert (await served.get("/v1/fairness"))[0] == 404
        _, index, _ = await served.get("/v1")
        assert "/v1/reports/latest" in index["paths"]

    serve(tmp_path, body, view=node_view())


def test_health_and_readiness_say_why_not(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        assert (await served.get("/healthz"))[0] == 200
        status, readiness, _ = await served.get("/readyz")
        assert (status, readiness["reasons"]) == (503, ["the node is still starting"])
        served.cell.swap(node_view())
        assert (await served.get("/readyz"))[:2] == (200, {"ready": True, "reasons": []})
        served.cell.swap(node_view(not_ready=("2 of 4 members connected, 3 are needed",)))
        status, readiness, _ = await served.get("/readyz")
        assert (status, len(readiness["reasons"])) == (503, 1)
        assert (await served.get("/healthz"))[0] == 200
        # The consensus has stopped: even the liveness probe fails, so that it is restarted.
        stale = time.monotonic_ns() - 60 * 10**9
        served.cell.swap(node_view(made_at_ns=stale))
        status, health, _ = await served.get("/healthz")
        assert status == 503
        assert "has not reported for" in health["reasons"][0]

    serve(tmp_path, body)


def test_metrics_are_on_their_own_listener(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        await served.get("/v1/feeds")
        status, text, headers = await served.get(served.metrics + "/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b'didyma_feed_price_units{feed="BTC/USD"} 64000.1234567' in text
        assert b'route="/v1/feeds",status="200"' in text
        assert (await served.get("/metrics"))[0] == 404
        assert (await served.get(served.metrics + "/v1/status"))[0] == 404

    serve(tmp_path, body, view=node_view())


def test_a_websocket_gets_the_latest_report_and_then_each_new_one(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        served.server.publish(report(6))
        await asyncio.sleep(0)
        async with served.client.ws_connect(served.url + "/v1/stream") as socket:
            assert json.loads(await socket.receive_str())["header"]["view"] == 6
            await asyncio.to_thread(served.server.publish, report(7))
            served.server.publish(report(7))
            served.server.publish(report(5))
            served.server.publish(report(8))
            assert json.loads(await socket.receive_str())["header"]["view"] == 7
            assert json.loads(await socket.receive_str())["header"]["view"] == 8
        assert (await served.get("/v1/reports/latest"))[1]["header"]["view"] == 8

    serve(tmp_path, body, view=node_view(latest=None))


def test_server_sent_events(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        async with served.client.get(served.url + "/v1/events") as response:
            assert response.content_type == "text/event-stream"
            served.server.publish(report(7))
            frame = await response.content.readuntil(b"\n\n")
            assert frame.startswith(b'id: 0-7\nevent: report\ndata: {"header"')

    serve(tmp_path, body, view=node_view())


def test_streams_are_bounded_and_end_when_the_node_stops(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        first = await served.client.ws_connect(served.url + "/v1/stream")
        status, error, _ = await served.get("/v1/events")
        assert (status, error["error"]["code"]) == (503, "too_many_streams")
        await served.server.stop()
        assert (await first.receive()).type in (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSING,
            aiohttp.WSMsgType.CLOSED,
        )

    serve(tmp_path, body, view=node_view(), limits=ApiLimits(streams_max=1))


def test_a_client_that_talks_on_a_stream_is_dropped(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        async with served.client.ws_connect(served.url + "/v1/stream") as socket:
            for _ in range(4):
                await socket.send_str("hello")
            message = await socket.receive(timeout=5)
            assert message.type is aiohttp.WSMsgType.CLOSE
        # The place is free again.
        async with served.client.ws_connect(served.url + "/v1/stream") as socket:
            await socket.send_bytes(bytes(5000))
            message = await socket.receive(timeout=5)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)

    serve(tmp_path, body, view=node_view(), limits=ApiLimits(streams_max=1, stream_messages_max=4))


def test_a_client_that_reads_nothing_loses_reports_and_is_then_dropped(tmp_path: Path) -> None:
    limits = ApiLimits(stream_queue_max=2, stream_write_seconds_max=0.2)

    async def body(served: Served) -> None:
        reader, writer = await asyncio.open_connection(*served.api, limit=2**10)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        view = 1
        async with asyncio.timeout(20):
            while b'api_streams{transport="events"} 0.0' not in served_metrics(served):
                for _ in range(10):
                    served.server.publish(report(view, size=200_000))
                    view += 1
                await asyncio.sleep(0.02)
        text = served_metrics(served)
        assert b'api_stream_dropped_reports_total{transport="events"}' in text
        writer.close()

    def served_metrics(served: Served) -> bytes:
        return served.server._metrics.exposition()

    serve(tmp_path, body, view=node_view(latest=None), limits=limits)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/nothing", 404, "no_such_path"),
        ("/v1/reports", 400, "parameter_missing"),
        ("/v1/reports/-1", 400, "not_a_number"),
        ("/v1/reports/" + "9" * 400, 400, "out_of_range"),
        ("/v1/reports/9999999999999999999", 400, "out_of_range"),
        ("/v1/reports/٣", 400, "not_a_number"),
        ("/v1/reports/1%00", 400, "not_a_number"),
        ("/v1/reports/..%2f..%2fetc%2fpasswd", 400, "not_a_number"),
        ("/v1/reports/1?epoch=1&epoch=2", 400, "repeated_parameter"),
        ("/v1/reports/1?epoch=%27;drop", 400, "not_a_number"),
        ("/v1/reports?at_ms=1e5", 400, "not_a_number"),
        ("/v1/feeds?verbose=1", 400, "unknown_parameter"),
        ("/v1/stream", 426, "websocket_only"),
    ],
)
def test_bad_requests_are_answered_with_what_to_do(
    tmp_path: Path, path: str, status: int, code: str
) -> None:
    async def body(served: Served) -> None:
        got, document, headers = await served.get(path)
        assert (got, document["error"]["code"]) == (status, code)
        assert document["error"]["remedy"]
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "aiohttp" not in headers["Server"]

    serve(tmp_path, body, view=node_view())


def test_writing_methods_and_bodies_are_refused(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        async with served.client.post(served.url + "/v1/feeds") as response:
            assert response.status == 405
            assert (await response.json())["error"]["code"] == "method_not_allowed"
        async with served.client.get(served.url + "/v1/feeds", data=b"x" * 10) as response:
            assert response.status == 413
        async with served.client.options(served.url + "/v1/feeds") as response:
            assert response.status == 204
            assert "GET" in response.headers["Access-Control-Allow-Methods"]
        async with served.client.head(served.url + "/v1/feeds") as response:
            assert response.status == 200

    serve(tmp_path, body, view=node_view())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/feeds?" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 50_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 1000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_no_fit_request_is_refused_and_the_server_goes_on(
    tmp_path: Path, request_bytes: bytes
) -> None:
    async def body(served: Served) -> None:
        received = await served.raw(request_bytes)
        assert received == b"" or received.split(b" ")[1] in (b"400", b"404", b"413")
        assert b"Traceback" not in received
        assert b"Python" not in received
        assert b"aiohttp" not in received
        if received:
            assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"]
        assert (await served.get("/v1/feeds"))[0] == 200

    serve(tmp_path, body, view=node_view())


def test_a_connection_that_never_asks_is_closed(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        for opening in (b"", b"GET / HTTP/1.1\r\nHost: "):
            reader, writer = await asyncio.open_connection(*served.api)
            writer.write(opening)
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()

    serve(tmp_path, body, view=node_view(), limits=ApiLimits(idle_seconds_max=0.2))


def test_connections_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        url = f"http://{served.api[0]}:{served.api[1]}/v1/events"
        held = [await served.client.get(url) for _ in range(4)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await served.get("/healthz")
        # The other listeners have places of their own.
        assert (await served.get(served.control + "/healthz"))[0] == 200
        for stream in held:
            stream.close()
        async with asyncio.timeout(10):
            while True:
                try:
                    assert (await served.get("/healthz"))[0] == 200
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.02)

    serve(tmp_path, body, view=node_view(), limits=ApiLimits(connections_max=4))


def test_connections_that_ask_nothing_keep_nobody_away(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        held = []
        for opening in (b"", b"GET / HTTP/1.1\r\nHost: ") * 20:
            reader, writer = await asyncio.open_connection(*served.api)
            writer.write(opening)
            held.append((reader, writer))
        url = f"http://{served.api[0]}:{served.api[1]}/v1/events"
        stream = await served.client.get(url)
        for _ in range(10):
            assert (await served.get("/healthz"))[0] == 200
            held.append(await asyncio.open_connection(*served.api))
        # The oldest lost their places, the stream that is being answered kept its own.
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await held[0][0].read() == b""
        served.server.publish(report(9))
        async with asyncio.timeout(10):
            while (await stream.content.readline()) != b"id: 0-9\n":
                pass
        stream.close()
        for _reader, writer in held:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    serve(tmp_path, body, view=node_view(), limits=ApiLimits(connections_max=4))


def test_the_control_listener_answers_only_to_local_names(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        for name, status in (
            ("evil.example", 403),
            ("127.0.0.1.evil.example:80", 403),
            ("localhost:1", 200),
            ("127.0.0.1", 200),
            ("[::1]:5", 200),
        ):
            got, _, headers = await served.get(
                served.control + "/v1/status", headers={"Host": name}
            )
            assert got == status, name
            assert "Access-Control-Allow-Origin" not in headers

    serve(tmp_path, body, view=node_view())


def test_listeners_that_cannot_be_opened_are_explained(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        for listen, text in (
            (Listeners(served.api), "change [api] listen"),
            (Listeners(EPHEMERAL, control=("0.0.0.0", 0)), "use 127.0.0.1"),
        ):
            other = ApiServer(
                cell=ViewCell(),
                archive=ArchiveReader(tmp_path),
                network_file=b"",
                metrics=Metrics(process=False),
            )
            with pytest.raises(ListenFailed, match=text.replace("[", r"\[")):
                await other.start(listen)

    serve(tmp_path, body)


def test_an_unreadable_archive_is_no_traceback(tmp_path: Path) -> None:
    async def body(served: Served) -> None:
        class Broken:
            def _fail(self, *_: int) -> StoredReport | None:
                raise StoreError("cannot read /secret/place: disk I/O error")

            report_at = report_by_time = latest = _fail

        server = ApiServer(
            cell=served.cell,
            archive=Broken(),
            network_file=b"",
            metrics=Metrics(process=False),
        )
        at = await server.start(Listeners(EPHEMERAL))
        assert at.api is not None
        status, document, _ = await served.get(f"http://127.0.0.1:{at.api[1]}/v1/reports/1")
        assert (status, document["error"]["code"]) == (503, "archive_unreadable")
        assert "/secret/place" not in json.dumps(document)
        await server.stop()

    serve(tmp_path, body, view=node_view())


def test_run_serves_until_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        server = ApiServer(
            cell=ViewCell(),
            archive=ArchiveReader(tmp_path),
            network_file=b"",
            metrics=Metrics(process=False),
        )
        server.publish(report(1))
        started: asyncio.Future[Listeners] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(server.run(Listeners(EPHEMERAL), started.set_result))
        at = (await started).api
        assert at is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection(*at)

    asyncio.run(main())


def test_request_rate_is_per_address_and_bounded() -> None:
    rate = RequestRate(per_second=2.0, burst=3, addresses_max=2)
    assert [rate.allows("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert rate.allows("b", 0.0)
    assert [rate.allows("a", 1.0) for _ in range(3)] == [True, True, False]
    for number in range(100):
        assert rate.allows(f"c{number}", 1.0)
    assert len(rate._buckets) == 2


def test_loopback_addresses() -> None:
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"):
        assert is_loopback(address)
    for address in ("", "10.0.0.1", "::ffff:10.0.0.1", "localhost.evil", "fe80::1%eth0"):
        assert not is_loopback(address)
