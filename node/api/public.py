"""The public API: everything on it is for anyone to read."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import msgspec
from aiohttp import web

from node.api.answers import (
    ApiError,
    answering,
    cached_response,
    integer,
    json_response,
    open_to_all_origins,
    query_of,
    secure_headers,
)
from node.api.calldata import CompleteReports
from node.api.documents import feed_document, public_status, reasons_not_ready
from node.api.limits import ApiLimits
from node.api.onlookers import (
    history_document,
    incidents_document,
    participation_document,
    sources_document,
)
from node.api.page_files import add_page
from node.api.proofs import proof_document
from node.api.streams import ReportHub, serve_events, serve_websocket
from node.api.view import NodeView, PublishedReport, ViewCell
from node.metrics import Metrics
from node.store.archive import StoredReport

_PATHS = {
    "/": "a page that shows the network live",
    "/v1": "this list",
    "/v1/reports/latest": "the newest certified report, with header, words, certificate, calldata",
    "/v1/reports/{view}": "the report of one view; ?epoch= for an earlier epoch",
    "/v1/reports/{view}/proof": "proofs of ?feeds= with calldata, of a view or of `latest`",
    "/v1/reports?at_ms=": "the newest report observed at or before a Unix time in milliseconds",
    "/v1/feeds": "every feed's price, confidence, status, age, sources and observers",
    "/v1/sources?feed=": "one feed's sources: venue, pair, state, age, whether it counts here",
    "/v1/history": "prices of the last five minutes; ?feeds= names up to 64",
    "/v1/committee": "members, keys and quorum of the epoch in office",
    "/v1/participation": "who signed and observed the newest certificates, and when each last did",
    "/v1/incidents": "changes of feeds' statuses with causes, evidence found, alarms of fairness",
    "/v1/network": "the network file: the first epoch, from which reports and epochs are verified",
    "/v1/epochs": "every epoch, with the proof of how it ended; ?from= for the pages that follow",
    "/v1/status": "what this node does",
    "/v1/stream": "WebSocket: every new report",
    "/v1/events": "server-sent events: every new report",
    "/healthz": "200 while the node runs",
    "/readyz": "200 while the node does all that it should, else 503 with reasons",
}

_FOREVER = "public, max-age=86400, immutable"
_BRIEFLY = "public, max-age=1"
_REVALIDATE = "no-cache"


class ReportArchive(Protocol):
    """Where past reports are read; called in worker threads, may raise `StoreError`."""

    def report_at(self, epoch: int, view: int) -> StoredReport | None:
        """Return the report of a view."""
        ...

    def report_by_time(self, at_ms: int) -> StoredReport | None:
        """Return the newest report observed at or before a time (Unix ms)."""
        ...

    def latest(self) -> StoredReport | None:
        """Return the newest report."""
        ...


class Epochs(Protocol):
    """Where the network's epochs are read; called in worker threads, may raise `StoreError`."""

    def page(self, first: int) -> bytes | None:
        """Return some epochs as JSON, from one on; None if that has not begun."""
        ...


class PublicApi:
    """The handlers of the public listener."""

    def __init__(
        self,
        cell: ViewCell,
        archive: ReportArchive,
        network_file: bytes,
        epochs: Epochs | None,
        hub: ReportHub,
        complete: CompleteReports,
        metrics: Metrics,
        limits: ApiLimits,
    ) -> None:
        self._cell = cell
        self._archive = archive
        self._network_file = network_file
        self._epochs = epochs
        self._hub = hub
        self._complete = complete
        self._metrics = metrics
        self._limits = limits
        self._archive_places = asyncio.Semaphore(limits.archive_reads_max)

    def application(self) -> web.Application:
        """Return the application that serves them."""
        app = web.Application(
            middlewares=[answering("api", self._metrics, self._limits, cors=True)],
            client_max_size=1,
        )
        app.on_response_prepare.append(secure_headers)
        app.on_response_prepare.append(open_to_all_origins)
        add_page(app)
        app.router.add_get("/v1", self._index)
        app.router.add_get("/v1/reports", self._report_by_time)
        app.router.add_get("/v1/reports/latest", self._latest_report)
        app.router.add_get("/v1/reports/latest/proof", self._latest_proof)
        app.router.add_get("/v1/reports/{view}", self._report_at)
        app.router.add_get("/v1/reports/{view}/proof", self._proof_at)
        app.router.add_get("/v1/feeds", self._feeds)
        app.router.add_get("/v1/sources", self._sources)
        app.router.add_get("/v1/history", self._history)
        app.router.add_get("/v1/committee", self._committee)
        app.router.add_get("/v1/participation", self._participation)
        app.router.add_get("/v1/incidents", self._incidents)
        app.router.add_get("/v1/network", self._network)
        if self._epochs is not None:
            app.router.add_get("/v1/epochs", self._epoch_page)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/stream", self._stream, allow_head=False)
        app.router.add_get("/v1/events", self._events, allow_head=False)
        add_health(app, self._cell, self._limits)
        return app

    def _view(self) -> NodeView:
        view = self._cell.newest
        if view is None:
            raise ApiError(503, "starting", "the node is still starting", "try again in a moment")
        return view

    def _latest(self) -> PublishedReport | None:
        view = self._cell.newest
        return newest_report(self._hub.latest, None if view is None else view.latest)

    async def _read(
        self, find: Callable[..., StoredReport | None], *arguments: int
    ) -> StoredReport | None:
        """Return a report of the archive with its calldata; both are made in a worker thread."""

        def read() -> StoredReport | None:
            stored = find(*arguments)
            if stored is None:
                return None
            return replace(stored, body=self._complete.complete(stored.body))

        async with self._archive_places:
            return await asyncio.to_thread(read)

    async def _index(self, request: web.Request) -> web.Response:
        query_of(request)
        return json_response({"name": "didyma", "paths": _PATHS})

    async def _latest_report(self, request: web.Request) -> web.Response:
        query_of(request)
        body, final = await self._newest()
        return _report_response(request, body, final, _REVALIDATE)

    async def _report_at(self, request: web.Request) -> web.Response:
        query = query_of(request, "epoch")
        body, final = await self._at(request, query)
        return _report_response(request, body, final, _BRIEFLY)

    async def _latest_proof(self, request: web.Request) -> web.Response:
        query = query_of(request, "feeds")
        body, final = await self._newest()
        proof = await self._proof(body, query.get("feeds"))
        return _report_response(request, proof, final, _REVALIDATE)

    async def _proof_at(self, request: web.Request) -> web.Response:
        query = query_of(request, "epoch", "feeds")
        body, final = await self._at(request, query)
        proof = await self._proof(body, query.get("feeds"))
        return _report_response(request, proof, final, _BRIEFLY)

    async def _proof(self, body: bytes, feeds: str | None) -> bytes:
        async with self._archive_places:
            return await asyncio.to_thread(proof_document, body, feeds)

    async def _newest(self) -> tuple[bytes, bool]:
        """Return the newest report with its calldata, and whether it is final."""
        report = self._latest()
        if report is not None:
            return self._complete.complete(report.body), report.final
        stored = await self._read(self._archive.latest)
        if stored is None:
            raise ApiError(
                503,
                "no_report_yet",
                "no report has been certified yet",
                "try again in a moment; /readyz says what the node waits for",
            )
        return stored.body, stored.final

    async def _at(self, request: web.Request, query: dict[str, str]) -> tuple[bytes, bool]:
        """Return the report of a view with its calldata, and whether it is final."""
        view = integer("view", request.match_info["view"])
        epoch = integer("epoch", query["epoch"]) if "epoch" in query else self._view().epoch
        stored = await self._read(self._archive.report_at, epoch, view)
        if stored is None:
            self._check_skipped(epoch, view)
            raise ApiError(
                404,
                "no_such_report",
                f"no report of view {view} in epoch {epoch} is kept here",
                "views may be skipped, and old reports go: ask for the newest at or before a time "
                "with /v1/reports?at_ms=",
            )
        return stored.body, stored.final

    def _check_skipped(self, epoch: int, view: int) -> None:
        """Say it plainly if this node was away when a view was agreed."""
        known = self._view()
        if epoch != known.epoch:
            return
        for gap in known.gaps:
            if gap.above_view < view <= gap.view:
                raise ApiError(
                    404,
                    "report_skipped",
                    f"this node was away and skipped the views {gap.above_view + 1} to {gap.view}",
                    "ask another node",
                )

    async def _report_by_time(self, request: web.Request) -> web.Response:
        query = query_of(request, "at_ms")
        if "at_ms" not in query:
            raise ApiError(
                400,
                "parameter_missing",
                "at_ms is missing",
                "give ?at_ms= as a Unix time in milliseconds, or ask for /v1/reports/latest",
            )
        at_ms = integer("at_ms", query["at_ms"])
        stored = await self._read(self._archive.report_by_time, at_ms)
        if stored is None:
            raise ApiError(
                404,
                "no_such_report",
                "no report observed at or before that time is kept here",
                "ask for a later time, or another node",
            )
        # A report observed later, but still before `at_ms`, may yet be certified.
        return _report_response(request, stored.body, False, _BRIEFLY)

    async def _feeds(self, request: web.Request) -> web.Response:
        query_of(request)
        view, latest, now_ms = self._view(), self._latest(), _now_ms()
        return json_response(
            {
                "epoch": view.epoch,
                "view": None if latest is None else latest.view,
                "feeds": [feed_document(feed, now_ms) for feed in view.feeds],
            }
        )

    async def _sources(self, request: web.Request) -> web.Response:
        query = query_of(request, "feed")
        if "feed" not in query:
            raise ApiError(400, "parameter_missing", "feed is missing", "give ?feed=, as BTC/USD")
        return json_response(sources_document(self._view(), query["feed"], _now_ms()))

    async def _history(self, request: web.Request) -> web.Response:
        query = query_of(request, "feeds")
        async with self._archive_places:
            body = await asyncio.to_thread(history_document, self._view(), query.get("feeds"))
        return cached_response(request, body, _BRIEFLY)

    async def _participation(self, request: web.Request) -> web.Response:
        query_of(request)
        return json_response(participation_document(self._view()))

    async def _incidents(self, request: web.Request) -> web.Response:
        query_of(request)
        return json_response(incidents_document(self._view()))

    async def _committee(self, request: web.Request) -> web.Response:
        query_of(request)
        return cached_response(
            request, msgspec.json.encode(self._view().committee), "public, max-age=60"
        )

    async def _network(self, request: web.Request) -> web.Response:
        query_of(request)
        return cached_response(request, self._network_file, "public, max-age=60")

    async def _epoch_page(self, request: web.Request) -> web.Response:
        query = query_of(request, "from")
        first = integer("from", query["from"]) if "from" in query else 0
        assert self._epochs is not None
        async with self._archive_places:
            page = await asyncio.to_thread(self._epochs.page, first)
        if page is None:
            raise ApiError(
                404,
                "no_such_epoch",
                f"epoch {first} has not begun",
                "ask from 0, and for the page that each one names as `next`",
            )
        return cached_response(request, page, _REVALIDATE)

    async def _status(self, request: web.Request) -> web.Response:
        query_of(request)
        view = self._view()
        reasons = reasons_not_ready(view, self._limits.view_age_ms_max)
        return json_response(public_status(view, self._latest(), reasons, _now_ms()))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        query_of(request)
        return await serve_websocket(request, self._hub, self._limits)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        query_of(request)
        return await serve_events(request, self._hub, self._limits)


def add_health(app: web.Application, cell: ViewCell, limits: ApiLimits) -> None:
    """Serve `/healthz` (is it alive) and `/readyz` (does it do all that it should)."""

    async def healthz(request: web.Request) -> web.Response:
        query_of(request)
        view = cell.newest
        alive = view is None or view.age_ms() <= limits.view_age_ms_max
        reasons = [] if alive else reasons_not_ready(view, limits.view_age_ms_max)[:1]
        return json_response({"healthy": alive, "reasons": reasons}, 200 if alive else 503)

    async def readyz(request: web.Request) -> web.Response:
        query_of(request)
        reasons = reasons_not_ready(cell.newest, limits.view_age_ms_max)
        return json_response({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)


def newest_report(
    one: PublishedReport | None, other: PublishedReport | None
) -> PublishedReport | None:
    """Return the report of the later view."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda report: (report.epoch, report.view, report.final))


def _report_response(
    request: web.Request, body: bytes, final: bool, unless_final: str
) -> web.Response:
    # What is final, and asked for by its own view, never changes again.
    permanent = final and unless_final == _BRIEFLY
    response = cached_response(request, body, _FOREVER if permanent else unless_final)
    response.headers["Didyma-Final"] = "true" if final else "false"
    return response


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
