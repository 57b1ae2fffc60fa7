"""Starts and stops the three listeners on the asyncio thread."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from node.api.calldata import CompleteReports
from node.api.gate import Gate
from node.api.limits import ApiLimits, is_loopback
from node.api.operators import control_application, metrics_application
from node.api.public import Epochs, PublicApi, ReportArchive
from node.api.streams import ReportHub
from node.api.view import PublishedReport, ViewCell
from node.api.view_metrics import ViewCollector
from node.errors import OperatorError
from node.evidence_book import EvidenceBook
from node.handover_control import HandoverControl
from node.metrics import Metrics

Address = tuple[str, int]
"""Host and port."""

_log = structlog.get_logger("api")

_SHUTDOWN_SECONDS = 2.0


class ListenFailed(OperatorError):
    """A listener could not be opened."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where to listen, or with which ports it is listened in fact; None for not at all."""

    api: Address | None
    metrics: Address | None = None
    control: Address | None = None


class ApiServer:
    """The node's HTTP listeners. `publish` may be called from any thread, the rest on one loop."""

    def __init__(
        self,
        *,
        cell: ViewCell,
        archive: ReportArchive,
        network_file: bytes,
        metrics: Metrics,
        epochs: Epochs | None = None,
        limits: ApiLimits | None = None,
        handover: HandoverControl | None = None,
        evidence: EvidenceBook | None = None,
    ) -> None:
        """Prepare to serve; adds the metrics of the cell's views to the registry."""
        self._cell = cell
        self._archive = archive
        self._network_file = network_file
        self._epochs = epochs
        self._metrics = metrics
        self._handover = handover
        self._evidence = evidence
        self._limits = limits or ApiLimits()
        self._complete = CompleteReports()
        self._hub = ReportHub(self._complete, self._limits, metrics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: list[tuple[asyncio.Server, web.AppRunner]] = []
        metrics.registry.register(ViewCollector(cell, self._limits.view_age_ms_max))

    def publish(self, report: PublishedReport) -> None:
        """Show a new certified report, or one that has become final, to all who follow."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(self._hub.publish, report)

    async def run(self, listen: Listeners, started: Callable[[Listeners], None]) -> None:
        """Serve until cancelled; `started` gets the addresses once all listeners are open."""
        try:
            started(await self.start(listen))
            await asyncio.get_running_loop().create_future()
        finally:
            await self.stop()

    async def start(self, listen: Listeners) -> Listeners:
        """Open the listeners; raise `ListenFailed`, with none of them open."""
        self._loop = asyncio.get_running_loop()
        if listen.control is not None:
            host = listen.control[0]
            if host != "localhost" and not is_loopback(host):
                raise ListenFailed(
                    f"[control] listen is {host}, which others may reach: use 127.0.0.1"
                )
        public = PublicApi(
            self._cell,
            self._archive,
            self._network_file,
            self._epochs,
            self._hub,
            self._complete,
            self._metrics,
            self._limits,
        )
        applications: dict[str, Callable[[], web.Application]] = {
            "api": public.application,
            "metrics": lambda: metrics_application(self._metrics, self._limits),
            "control": lambda: control_application(
                self._cell,
                self._hub,
                self._metrics,
                self._limits,
                self._handover,
                self._evidence,
            ),
        }
        bound: dict[str, Address | None] = {}
        try:
            for name, application in applications.items():
                address: Address | None = getattr(listen, name)
                bound[name] = (
                    None if address is None else await self._serve(name, application(), address)
                )
        except BaseException:
            await self.stop()
            raise
        listening = Listeners(**bound)
        _log.info("api_listening", **{name: bound[name] for name in bound if bound[name]})
        return listening

    async def _serve(self, name: str, app: web.Application, address: Address) -> Address:
        gate = Gate(name, self._limits, self._metrics)
        app.middlewares.insert(0, gate.middleware)
        runner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        await runner.setup()
        assert runner.server is not None
        gate.open(runner.server)
        try:
            server = await asyncio.get_running_loop().create_server(gate, *address, backlog=128)
        except OSError as error:
            await runner.cleanup()
            raise ListenFailed(
                f"cannot listen on {address[0]}:{address[1]}: {error.strerror}. Stop what uses the "
                f"address, or change [{name}] listen in the configuration."
            ) from error
        self._running.append((server, runner))
        host, port = server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def stop(self) -> None:
        """Close the listeners and end all streams."""
        self._hub.close()
        running, self._running = self._running, []
        for server, _runner in running:
            server.close()
        for _server, runner in running:
            await runner.cleanup()
