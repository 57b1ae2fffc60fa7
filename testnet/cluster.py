"""A whole network of real processes on loopback: started, watched, broken on request, stopped."""

import asyncio
import contextlib
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from consensus.committee import faulty_max, quorum
from node.config import ChainSection, EndpointSection
from node.errors import OperatorError
from testnet.chain_watch import ChainWatch
from testnet.deployment import (
    PORTS_PER_NODE,
    Deployment,
    MemberNode,
    configure,
    make_network,
    testnet_venues,
)
from testnet.developer import developer_address
from testnet.faults import (
    FaultKind,
    FaultLog,
    FaultOrder,
    break_exchanges,
    kill_leaders,
    restart_whenever_crashed,
)
from testnet.feed_count import FEEDS_USUAL
from testnet.havoc import wreak_havoc
from testnet.manifest import (
    ChainEntry,
    ChainKind,
    Manifest,
    MemberEntry,
    load_manifest,
    save_manifest,
)
from testnet.node_watch import NodeWatch, Status, all_live, takes_part
from testnet.oracle_deployment import Deployer
from testnet.partitions import part_and_heal
from testnet.personas.catalogue import PERSONAS
from testnet.personas.severed import Parts, write_parts
from testnet.ports import free_ports
from testnet.processes import Child, ChildFailed, module_command
from testnet.rpc_client import RpcClient

CHAIN_ID = 31_337
ORDER_FILE = "misbehave"
PARTS_FILE = "parts"

_READY_S = 120
_ANVIL_READY_S = 420
"""anvil may have to be installed first."""

RUNNING = "running"
"""The phase in which prices are agreed and stored."""

_WARM_S_MAX = 180
_WARM_S_PER_NODE = 12
"""A node takes seconds of a core to start."""

_STOP_GRACE_S = 8
_LOOK_EVERY_S = 0.5
_SOURCES_COME_S = 3.0
"""So long after the first live prices the last exchange has answered, too."""
_POLL_S = 0.1
_VIEWS_BEHIND_MAX = 4


@dataclass(frozen=True, slots=True)
class Options:
    """What kind of network, for how long (from the first live prices; None: until stopped)."""

    nodes: int
    duration_s: float | None
    rate: float
    chain: ChainKind
    faults: tuple[FaultOrder, ...]
    seed: int
    directory: Path
    feeds: int = FEEDS_USUAL
    """How many of the catalogue's feeds, the first ones."""

    def wants(self, kind: FaultKind) -> bool:
        """Tell whether a kind of fault was ordered."""
        return any(fault.kind == kind for fault in self.faults)

    @property
    def faulty_max(self) -> int:
        """How many faulty members the network stands."""
        return faulty_max(self.nodes)

    @property
    def personas(self) -> dict[int, str]:
        """The persona of each member that has one; the seed picks the members."""
        wanted = [
            fault.persona for fault in self.faults for _ in range(fault.count) if fault.persona
        ]
        order = random.Random(f"personas {self.seed}").sample(range(self.nodes), self.nodes)
        return dict(zip(order, wanted, strict=False))

    @property
    def personas_wanted(self) -> int:
        """How many members were to be personas."""
        return sum(fault.count for fault in self.faults if fault.persona)

    @property
    def plain(self) -> tuple[int, ...]:
        """The members without a persona."""
        return tuple(member for member in range(self.nodes) if member not in self.personas)


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node at one moment; `doing` is starting, running, killed, stopped or dead."""

    name: str
    doing: str
    persona: str | None
    status: Status | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The network at one moment, for whoever shows it."""

    phase: str
    elapsed_s: float
    duration_s: float | None
    directory: Path
    deployment: Deployment | None = None
    nodes: tuple[NodeState, ...] = ()
    furthest: int | None = None
    signers: tuple[str, ...] = ()
    chain: ChainWatch | None = None
    rpc_url: str | None = None
    faults: tuple[tuple[int, str], ...] = ()


@dataclass(slots=True)
class Run:
    """What became of a run: times are Unix ms, None for what was not reached."""

    started_ms: int
    warm_ms: int | None = None
    stopped_ms: int | None = None
    faults: FaultLog = field(default_factory=FaultLog)
    deployment_gas: int | None = None
    crashes: list[str] = field(default_factory=list)
    tick_to_observation: list[tuple[float, float]] = field(default_factory=list)
    warnings: dict[str, set[str]] = field(default_factory=dict)
    """What nodes warned of, by feed, from soon after the first live prices on."""
    chain: ChainWatch | None = None


Show = Callable[[Snapshot], None]


def fresh_directory(wanted: Path | None) -> Path:
    """Return a new or empty directory; raise `ChildFailed` if it holds anything, or cannot be."""
    try:
        if wanted is None:
            return Path(tempfile.mkdtemp(prefix="didyma-testnet-"))
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_empty = not any(wanted.iterdir())
    except OSError as error:
        raise ChildFailed(f"{error.filename} cannot be a directory: {error.strerror}") from None
    if not is_empty:
        raise ChildFailed(f"{wanted} is not empty; a testnet needs a fresh directory")
    return wanted.resolve()


def remove_directory(directory: Path) -> None:
    """Remove a testnet's directory with all keys in it."""
    shutil.rmtree(directory, ignore_errors=True)


class Cluster:
    """The processes of one testnet: an async context manager that leaves none of them behind.

    `run` returns when the nodes and exchanges have stopped; the chain goes on until the context
    ends, for whoever audits it.
    """

    def __init__(self, options: Options, stop: asyncio.Event, show: Show) -> None:
        self.options = options
        self._stop = stop
        self._show = show
        self._phase = "starting the exchanges and the chain"
        self._warm_at: float | None = None
        self._over_at: float | None = None
        self._logs = options.directory / "logs"
        self._order_file = options.directory / ORDER_FILE
        self._parts_file = options.directory / PARTS_FILE
        self._children: list[Child] = []
        self._nodes: list[Child] = []
        self.deployment: Deployment | None = None
        self._watch: NodeWatch | None = None
        self._sessions = contextlib.AsyncExitStack()
        self.record = Run(started_ms=_now_ms())
        self.rpc_url: str | None = None

    async def __aenter__(self) -> "Cluster":
        """Make the place for logs."""
        self._logs.mkdir(exist_ok=True)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Stop what still runs."""
        await self._sessions.aclose()
        await asyncio.gather(*(child.stop(_STOP_GRACE_S) for child in self._children))

    async def run(self) -> None:
        """Run the network for its time, or until it is told to stop; raise `OperatorError`."""
        work = asyncio.create_task(self._work())
        told = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.record.stopped_ms = _now_ms()
            self._over_at = time.monotonic()
            self._note_tick_latencies()
            for task in (work, told):
                task.cancel()
            outcome, _ = await asyncio.gather(work, told, return_exceptions=True)
            self._note_crashes()
            self._go_on("stopping the nodes")
            await asyncio.gather(*(node.stop(_STOP_GRACE_S) for node in self._nodes))
        if isinstance(outcome, Exception):
            raise _first(outcome)
        if self.record.chain is not None:
            with contextlib.suppress(OperatorError):
                await self.record.chain.look()
        self._go_on("auditing")

    def child(self, name: str, command: Sequence[str]) -> Child:
        """Return a process, not started yet, that is stopped with all others."""
        child = Child(name, command, self._logs / f"{name}.log")
        self._children.append(child)
        return child

    # From nothing to a network at work.

    async def _work(self) -> None:
        options, record = self.options, self.record
        now_ms = _now_ms()
        ports = free_ports(1 + PORTS_PER_NODE * options.nodes)
        exchanges = self.child(
            "exchanges",
            module_command(
                *("testnet.exchanges", "--seed", str(options.seed), "--origin-ms", str(now_ms)),
                *("--venues", ",".join(testnet_venues(options.feeds))),
            ),
        )
        await exchanges.start(announces=True)
        deployer = Deployer()
        deployment = make_network(
            options.directory, ports[1:], rate=options.rate, now_ms=now_ms, feeds=options.feeds
        )
        self.deployment = deployment
        chain = self.child("chain", self._chain_command(ports[0], deployer, deployment))
        await chain.start(announces=True)
        market = await exchanges.announcement(_READY_S)
        ready_s = _ANVIL_READY_S if options.chain == "anvil" else _READY_S
        announced = await chain.announcement(ready_s)
        self._write_down(now_ms, market, deployer.contract, announced)
        self.rpc_url = announced["rpc_url"]
        rpc = await self._sessions.enter_async_context(RpcClient(announced["rpc_url"]))
        self._watch = await self._sessions.enter_async_context(NodeWatch(deployment.members))
        self._go_on("deploying the Oracle and starting the nodes")
        self._nodes = [self._node(member) for member in deployment.members]
        for node in self._nodes:
            await node.start()
        record.chain = ChainWatch(rpc, deployer.contract, deployment.network.table.count)
        async with asyncio.TaskGroup() as background:
            tasks = [
                background.create_task(self._look()),
                background.create_task(record.chain.run()),
                *(background.create_task(_until_lost(child)) for child in (exchanges, chain)),
            ]
            record.deployment_gas = await deployer.deploy(rpc, deployment.network)
            self._go_on("waiting for the first live prices")
            await self._become_warm()
            tasks += [background.create_task(self._break(market["control"]))]
            await self._last()
            for task in tasks:
                task.cancel()

    def _chain_command(
        self, port: int, deployer: Deployer, deployment: Deployment
    ) -> Sequence[str]:
        developer = developer_address()
        accounts = [
            deployer.address,
            developer,
            *(member.operator for member in deployment.members),
        ]
        return module_command(
            "testnet.chain.anvil" if self.options.chain == "anvil" else "testnet.chain",
            *("--port", str(port), "--chain-id", str(CHAIN_ID)),
            *("--fund", ",".join("0x" + account.hex() for account in accounts)),
        )

    def _write_down(
        self, origin_ms: int, market: dict[str, Any], oracle: bytes, announced: dict[str, Any]
    ) -> None:
        """Configure the nodes, and write what an auditor must know."""
        assert self.deployment is not None
        options = self.options
        endpoints = {
            venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
            for venue, urls in market["venues"].items()
        }
        chain = ChainSection(
            name=options.chain,
            chain_id=announced["chain_id"],
            rpc_urls=(announced["rpc_url"],),
            oracle=oracle,
        )
        configure(self.deployment, endpoints, chain)
        manifest = Manifest(
            seed=options.seed,
            origin_ms=origin_ms,
            start_minute=market["start_minute"],
            members=tuple(
                _entry(member.name, options.personas.get(member.index))
                for member in self.deployment.members
            ),
            chain=ChainEntry(options.chain, announced["chain_id"], "0x" + oracle.hex()),
        )
        save_manifest(options.directory, manifest)

    def _node(self, member: MemberNode) -> Child:
        config = ("--config", str(member.config_file))
        persona = self.options.personas.get(member.index)
        if persona is not None:
            seed = f"{self.options.seed} {member.index}"
            order = ("--when", str(self._order_file), "--seed", seed)
            command = module_command("testnet.personas", persona, *config, *order)
            return self.child(member.name, command)
        if self.options.wants("partitions"):
            parts = ("--parts", str(self._parts_file))
            command = module_command("testnet.personas.severed", *config, *parts)
            return self.child(member.name, command)
        return self.child(member.name, module_command("node.cli", "run", *config))

    async def _become_warm(self) -> None:
        """Wait for the first certified report in which every feed is live."""
        assert self._watch is not None
        patience_s = max(_WARM_S_MAX, _WARM_S_PER_NODE * self.options.nodes)
        deadline = time.monotonic() + patience_s
        while not any(map(all_live, self._watch.statuses)):
            if time.monotonic() > deadline:
                raise ChildFailed(
                    f"no live prices after {patience_s} s: see the logs in {self._logs}"
                )
            dead = [node for node in self._nodes if node.ended_by_itself]
            if len(dead) > (len(self._nodes) - 1) // 3:
                raise ChildFailed(f"{dead[0].name} {dead[0].how_it_ended()}")
            await asyncio.sleep(_POLL_S)
        self.record.warm_ms = _now_ms()
        self._warm_at = time.monotonic()
        self._go_on(RUNNING)

    async def _last(self) -> None:
        duration_s = self.options.duration_s
        if duration_s is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(duration_s)

    # While it runs.

    async def _look(self) -> None:
        assert self._watch is not None
        while True:
            begun = time.monotonic()
            await self._watch.look()
            if self._warm_at is not None and begun > self._warm_at + _SOURCES_COME_S:
                self._note_warnings(self._watch.statuses)
            self._show(self.snapshot())
            await asyncio.sleep(max(0.1, begun + _LOOK_EVERY_S - time.monotonic()))

    async def _break(self, control_url: str) -> None:
        """Bring about the faults that were ordered."""
        options, log = self.options, self.record.faults
        for member, persona in sorted(options.personas.items()):
            self._order_file.touch()
            log.inject(f"{self.name(member)} ({persona}) {PERSONAS[persona].about}")
        depegs = await break_exchanges(control_url, options.faults, log)
        if depegs:
            manifest = load_manifest(options.directory)
            save_manifest(options.directory, msgspec.structs.replace(manifest, depegs=depegs))
        async with asyncio.TaskGroup() as group:
            for member, persona in options.personas.items():
                if persona == "crasher":
                    group.create_task(restart_whenever_crashed(self, member, log))
            if options.wants("kill-leader"):
                group.create_task(kill_leaders(self, log))
            if options.wants("partitions"):
                q = quorum(options.nodes)
                group.create_task(part_and_heal(self, options.nodes, q, options.seed, log))
            if options.wants("chaos"):
                at_once = options.faulty_max - len(options.personas)
                group.create_task(wreak_havoc(self, options.plain, at_once, options.seed, log))

    def _go_on(self, phase: str) -> None:
        self._phase = phase
        self._show(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Return the network as it is now."""
        statuses = self._watch.statuses if self._watch is not None else []
        warm = self._warm_at
        personas = self.options.personas if self._order_file.exists() else {}
        return Snapshot(
            phase=self._phase,
            elapsed_s=0.0 if warm is None else (self._over_at or time.monotonic()) - warm,
            duration_s=self.options.duration_s,
            directory=self.options.directory,
            deployment=self.deployment,
            nodes=tuple(
                NodeState(
                    node.name,
                    _doing(node, status),
                    personas.get(index),
                    status if node.running else None,
                )
                for index, (node, status) in enumerate(zip(self._nodes, statuses, strict=False))
            ),
            furthest=self._watch.furthest if self._watch is not None else None,
            signers=self._watch.signers if self._watch is not None else (),
            chain=self.record.chain,
            rpc_url=self.rpc_url,
            faults=tuple(self.record.faults.entries),
        )

    def _note_crashes(self) -> None:
        crashers = [
            self._nodes[member]
            for member, persona in self.options.personas.items()
            if persona == "crasher" and self._nodes and self._nodes[member].killed_by_signal
        ]
        self.record.crashes = [
            f"{node.name} {node.how_it_ended()}"
            for node in self._children
            if node.ended_by_itself and node not in crashers
        ]

    def _note_warnings(self, statuses: Sequence[Status | None]) -> None:
        """Keep what the nodes say of feeds and sources."""
        for status in statuses:
            for feed in (status or {}).get("feeds") or ():
                warned = [*feed["alarms"], *(f"{source} stands apart" for source in feed["apart"])]
                if warned:
                    self.record.warnings.setdefault(feed["feed"], set()).update(warned)

    def _note_tick_latencies(self) -> None:
        """Keep what the nodes last said of a quantity that they alone can measure."""
        for status in self._watch.statuses if self._watch is not None else ():
            measured = (status or {}).get("latency_ms", {}).get("tick_to_observation")
            if measured:
                self.record.tick_to_observation.append((measured["p50"], measured["p99"]))

    # testnet.faults.Committee

    async def leader(self) -> int:
        """Return the member that leads now: of the view after the newest certified one."""
        assert self._watch is not None
        assert self.deployment is not None
        return self.deployment.network.context.leader(await self._watch.newest_view() + 1)

    def name(self, member: int) -> str:
        """Return a member's name."""
        return self._nodes[member].name

    async def kill(self, member: int) -> None:
        """SIGKILL a member's node and wait until it is gone."""
        self._nodes[member].kill()
        await self._nodes[member].ended()

    async def start(self, member: int) -> None:
        """Start a member's node again."""
        self._forget(member)
        await self._nodes[member].start()

    async def stop(self, member: int) -> None:
        """Ask a member's node to stop and wait until it is gone."""
        await self._nodes[member].stop(_STOP_GRACE_S)

    def freeze(self, member: int) -> None:
        """SIGSTOP a member's node."""
        self._nodes[member].freeze()

    def thaw(self, member: int) -> None:
        """SIGCONT a member's node."""
        self._forget(member)
        self._nodes[member].thaw()

    def _forget(self, member: int) -> None:
        """Forget what a node said before it was taken away."""
        assert self._watch is not None
        self._watch.statuses[member] = None

    async def killed_itself(self, member: int) -> bool:
        """Wait until a member's node is gone; tell whether by its own SIGKILL."""
        node = self._nodes[member]
        return await node.ended() == -signal.SIGKILL and node.ended_by_itself

    def part(self, parts: Parts) -> None:
        """Let members hear those of their own part only; all, without parts."""
        assert self._watch is not None
        if parts:
            write_parts(self._parts_file, parts)
        else:
            self._parts_file.unlink(missing_ok=True)
            self._watch.statuses[:] = [None] * self.options.nodes

    def takes_part(self, member: int) -> bool:
        """Tell whether a member certifies the newest reports."""
        assert self._watch is not None
        newest = self._watch.newest_view_seen
        return takes_part(self._watch.statuses[member], newest - _VIEWS_BEHIND_MAX)

    @property
    def plain(self) -> Sequence[int]:
        """The members without a persona."""
        return self.options.plain


def _entry(name: str, persona: str | None) -> MemberEntry:
    honest = persona is None or PERSONAS[persona].honest
    return MemberEntry(name, name, persona, honest)


async def _until_lost(child: Child) -> None:
    """Raise `ChildFailed` when a process that all others need is gone."""
    await child.ended()
    raise ChildFailed(f"the process {child.name} {child.how_it_ended()}")


def _doing(node: Child, status: Status | None) -> str:
    if node.ended_by_itself:
        return "dead"
    if not node.running:
        return "killed" if node.killed else "stopped"
    return "running" if status is not None else "starting"


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
