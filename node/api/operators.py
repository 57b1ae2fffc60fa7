"""The listeners that are not for the public: metrics, and control on the loopback interface."""

import time

from aiohttp import hdrs, web

from node.api.answers import (
    ApiError,
    Handler,
    answering,
    json_response,
    query_of,
    secure_headers,
)
from node.api.documents import fairness_document, full_status, reasons_not_ready
from node.api.evidence import add_evidence
from node.api.handover import add_handover
from node.api.limits import ApiLimits, is_loopback
from node.api.public import add_health, newest_report
from node.api.streams import ReportHub
from node.api.view import ViewCell
from node.evidence_book import EvidenceBook
from node.handover_control import HandoverControl
from node.metrics import CONTENT_TYPE, Metrics


def metrics_application(metrics: Metrics, limits: ApiLimits) -> web.Application:
    """Return what Prometheus scrapes."""

    async def scrape(_request: web.Request) -> web.Response:
        # Prometheus may append parameters of its own; they change nothing.
        return web.Response(
            body=metrics.exposition(),
            headers={hdrs.CONTENT_TYPE: CONTENT_TYPE, hdrs.CACHE_CONTROL: "no-store"},
        )

    app = web.Application(
        middlewares=[answering("metrics", metrics, limits, cors=False)], client_max_size=1
    )
    app.on_response_prepare.append(secure_headers)
    app.router.add_get("/metrics", scrape)
    return app


def control_application(
    cell: ViewCell,
    hub: ReportHub,
    metrics: Metrics,
    limits: ApiLimits,
    handover: HandoverControl | None = None,
    evidence: EvidenceBook | None = None,
) -> web.Application:
    """Return what `didyma status` and `didyma committee` ask: all that the node knows of itself."""

    async def status(request: web.Request) -> web.Response:
        query_of(request)
        view = cell.newest
        if view is None:
            raise ApiError(503, "starting", "the node is still starting", "try again in a moment")
        reasons = reasons_not_ready(view, limits.view_age_ms_max)
        latest = newest_report(hub.latest, view.latest)
        return json_response(full_status(view, latest, reasons, time.time_ns() // 1_000_000))

    async def fairness(request: web.Request) -> web.Response:
        query_of(request)
        view = cell.newest
        if view is None:
            raise ApiError(503, "starting", "the node is still starting", "try again in a moment")
        return json_response(fairness_document(view))

    app = web.Application(
        middlewares=[answering("control", metrics, limits, cors=False, bodies=True), _local_only],
        client_max_size=1,
    )
    app.on_response_prepare.append(secure_headers)
    app.router.add_get("/v1/status", status)
    app.router.add_get("/v1/fairness", fairness)
    if handover is not None:
        add_handover(app, handover)
    if evidence is not None:
        add_evidence(app, evidence)
    add_health(app, cell, limits)
    return app


@web.middleware
async def _local_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what came under another name than this machine's own.

    A page from anywhere can make a browser on this machine ask a loopback address by rebinding its
    own name to it; the Host header then still holds that name.
    """
    host = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
    name = (host or request.host).strip("[]")
    if name != "localhost" and not is_loopback(name):
        raise ApiError(
            403,
            "not_local",
            "the control listener is for this machine only",
            "ask it as 127.0.0.1 or localhost",
        )
    return await handler(request)
