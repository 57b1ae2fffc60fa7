"""The daemon: everything that one node runs, started in order and stopped in reverse.

trio runs the agreement, the committee's network and the store; one thread runs asyncio for the
exchanges, the chains and the API; signatures are verified in worker threads.
"""

import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
import trio

from aggregation.encoding import words_of
from aggregation.state import AgreedState, genesis_state
from consensus.core import Checkpoint, Core, genesis_checkpoint
from consensus.payload import State
from node import network_file as committee_file
from node.api.view import (
    ChainView,
    Identity,
    NodeView,
    PeerView,
    PublishedReport,
    SourceView,
    ViewCell,
)
from node.asyncio_thread import AsyncioThread
from node.config import Config
from node.errors import ConfigurationError, OperatorError
from node.journal import Journal
from node.keys.key_set import KeySet, load_keys
from node.log import configure_logging
from node.loop_lag import watch_asyncio, watch_trio
from node.metrics import Metrics
from node.network_file import NetworkFile
from node.observer import Observer
from node.payload import AggregationRule
from node.report import Report
from node.runtime import Halted, OwnObservation, Runtime, wall_clock_ms
from node.signer import Signer
from node.store import ArchiveReader, Store, StoreMissing, safety_for_start
from node.store.store import JOURNAL_DIRECTORY
from node.telemetry import Telemetry
from node.verifier import Verifier

if TYPE_CHECKING:
    from feeds.service import FeedService
    from node.network.mesh import Mesh
    from node.publisher import Publisher

SNAPSHOT_SECONDS = 0.5
BEHIND_VIEWS_MAX = 64
SILENCE_MS_MAX = 10_000
"""Without a certificate for this long the node is not ready."""

_log = structlog.get_logger("node.daemon")

Wrap = Callable[[OwnObservation], OwnObservation]


def run(config: Config, *, new_member: bool = False, wrap: Wrap | None = None) -> None:
    """Run a member's node until it is told to stop (SIGINT or SIGTERM).

    `wrap` may change what is observed before it is signed: the testnet's liars use it. Raises
    `OperatorError` for whatever an operator can mend.
    """
    configure_logging(config.log.format, config.log.level)
    node = Node(config, new_member=new_member, wrap=wrap)
    try:
        trio.run(node.run)
    except* OperatorError as errors:
        raise _first(errors) from None
    except* Halted as errors:
        raise OperatorError(f"the node halted: {_first(errors)}") from None
    finally:
        node.close()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Node:
    """One member's node. Construction opens what it needs and refuses what does not fit."""

    def __init__(self, config: Config, *, new_member: bool, wrap: Wrap | None) -> None:
        self._config = config
        self._network = committee_file.load(config.node.network_file)
        self._context = self._network.context
        keys = load_keys(config.keys)
        self._me = _own_index(config, self._network, keys)
        assert keys.bls is not None
        self._keys = keys
        self._store = _open_store(config, new_member)
        try:
            self._open(new_member, wrap)
        except BaseException:
            self._store.close()
            raise

    def _open(self, new_member: bool, wrap: Wrap | None) -> None:
        context = self._context
        bls, identity = self._keys.bls, self._keys.identity
        assert bls is not None
        safety = safety_for_start(
            self._store,
            context.domain,
            context.genesis_qc,
            bls.public_key,
            new_member=new_member,
            known_bls_keys=[member.bls_key for member in self._network.members],
        )
        core = Core(
            context,
            self._me,
            AggregationRule(context, self._network.table),
            safety,
            self._root(),
        )
        self._journal = Journal(self._config.node.data_dir / JOURNAL_DIRECTORY)
        self._journal.started(
            instance=self._store.instance,
            network=context.network,
            epoch=context.epoch,
            domain=context.domain,
            member=self._me,
            bls_key=bls.public_key,
            ed25519_key=identity.public_key,
        )
        # A kill may have come between the last commit and its entry; a timeout is then repeated.
        self._journal.persisted(safety)
        self._metrics = Metrics()
        self._observer = Observer(self._network.table)
        self._telemetry = Telemetry(
            self._network,
            self._identity(),
            self._observer,
            self._store,
            self._metrics,
            self._on_report,
            height=core.root.height,
        )
        self._cell = ViewCell()
        self._archive = ArchiveReader(self._config.node.data_dir)
        self._mesh = self._make_mesh()
        self._feeds: FeedService | None = None
        self._publisher: Publisher | None = None
        self._submit: Callable[[Report], None] = lambda _report: None
        observe = self._observer.observe
        self._runtime = Runtime(
            context,
            self._me,
            core,
            verifier=Verifier(context, self._network.table.count),
            signer=Signer(context.domain, bls, identity),
            store=self._store,
            journal=self._journal,
            network=self._mesh,
            observe=observe if wrap is None else lambda now_ms: wrap(observe(now_ms)),
            encode_state=_encode_state,
            words_of=_words_of,
            events=self._telemetry,
        )

    def _root(self) -> Checkpoint:
        """Return the last final block of the store, or the genesis."""
        head = self._store.head(self._context.domain)
        if head is None:
            state = genesis_state(self._network.table, self._network.genesis_time_ms)
            return genesis_checkpoint(self._context, state)
        return Checkpoint(
            head.block_id,
            head.block.view,
            head.height,
            head.block.header.observed_at_ms,
            AgreedState.decode(head.state),
            head.block,
        )

    def _identity(self) -> Identity:
        return Identity(
            version=version("didyma"),
            network_name=self._network.name,
            network=self._context.network.hex(),
            domain=self._context.domain.hex(),
            member=self._network.member_names[self._me],
            member_index=self._me,
            instance=self._store.instance,
            started_at_ms=wall_clock_ms(),
        )

    def _make_mesh(self) -> "Mesh":
        from node.network.address import PeerAddress
        from node.network.mesh import Mesh  # libp2p takes over a second to import

        addresses = {peer.member: peer.address for peer in self._config.p2p.peers}
        peers = {}
        for index, member in enumerate(self._network.members):
            if index == self._me:
                continue
            if member.name not in addresses:
                raise ConfigurationError(
                    f"no address for member {member.name!r}: add a [[p2p.peers]] entry with the "
                    "address at which its operator says it listens"
                )
            peers[index] = PeerAddress(member.ed25519_key, addresses[member.name])
        strangers = sorted(set(addresses) - set(self._network.member_names))
        if strangers:
            raise ConfigurationError(
                f"[[p2p.peers]] names {strangers[0]!r}, who is no member of {self._network.name}"
            )
        return Mesh(
            identity_seed=self._keys.identity.reveal_seed(),
            me=self._me,
            peers=peers,
            listen=self._config.p2p.listen,
        )

    async def run(self) -> None:
        """Run until a signal comes or something fails that must stop the node."""
        stored = [block for _, block in self._store.uncommitted(self._context.domain)]
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with AsyncioThread() as asyncio_thread, trio.open_nursery() as nursery:
                async with self._asyncio_side(asyncio_thread):
                    await nursery.start(self._mesh.run)
                    await nursery.start(self._runtime.run, stored)
                    nursery.start_soon(self._show)
                    nursery.start_soon(watch_trio, self._metrics)
                    _settle_memory()
                    _log.info("node_started", member=self._network.member_names[self._me])
                    async for number in signals:
                        _log.info("node_stopping", signal=signal.Signals(number).name)
                        nursery.cancel_scope.cancel()
                        break

    @asynccontextmanager
    async def _asyncio_side(self, thread: AsyncioThread) -> AsyncIterator[None]:
        """Start the exchanges, the API and the publisher in the asyncio thread."""
        from feeds.service import FeedService
        from feeds.venue import VenueEndpoint
        from node.api.server import ApiServer, Listeners

        config = self._config
        endpoints = {
            venue: VenueEndpoint(endpoint.ws_url, endpoint.rest_url)
            for venue, endpoint in config.feeds.endpoints.items()
        }
        self._feeds = FeedService(self._network.table, endpoints, self._observer.take)
        thread.start(self._feeds.run)
        thread.start(watch_asyncio, self._metrics)
        self._start_publisher(thread)
        self._api = ApiServer(
            cell=self._cell,
            archive=self._archive,
            network_file=committee_file.encode(self._network),
            metrics=self._metrics,
        )
        self._show_now()
        listening = Listeners(
            api=(config.api.listen.host, config.api.listen.port),
            metrics=(config.metrics.listen.host, config.metrics.listen.port),
            control=(config.control.listen.host, config.control.listen.port),
        )
        await thread.run(self._api.start, listening)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(3):
                await thread.run(self._api.stop)

    def _start_publisher(self, thread: AsyncioThread) -> None:
        chains = [chain for chain in self._config.chains if chain.publish]
        account = self._keys.account
        if not chains or account is None:
            return
        from node.publisher import ChainSettings, Publisher  # web3 takes seconds to import

        publisher = Publisher(
            [ChainSettings.of(chain) for chain in chains],
            network=self._context.network,
            table=self._network.table,
            private_key=bytes(account.account.key),
            me=self._me,
            members=self._context.n,
            on_stored=lambda chain, seconds: self._metrics.certificate_to_chain.labels(
                chain
            ).observe(seconds),
        )
        self._publisher = publisher
        self._submit = lambda report: thread.call(publisher.submit, report)
        thread.start(publisher.run)

    def _on_report(self, report: Report, published: PublishedReport) -> None:
        self._submit(report)
        self._api.publish(published)

    # What others see.

    async def _show(self) -> None:
        while True:
            await trio.sleep(SNAPSHOT_SECONDS)
            self._show_now()

    def _show_now(self) -> None:
        view = self._telemetry.snapshot(
            not_ready=self._not_ready(),
            peers=self._peers(),
            sources=self._sources(),
            chains=self._chains(),
        )
        self._cell.swap(view)

    def _not_ready(self) -> list[str]:
        reasons = []
        core = self._runtime.core
        behind = core.high_qc.view - core.root.view
        if behind > BEHIND_VIEWS_MAX:
            reasons.append(
                f"catching up: the others are at view {core.high_qc.view}, this node has all up to "
                f"{core.root.view}"
            )
        silent_ms = self._telemetry.silent_ms
        if silent_ms is None:
            reasons.append("no round has been certified since the start")
        elif silent_ms > SILENCE_MS_MAX:
            reasons.append(f"no round has been certified for {silent_ms // 1000} s")
        connected = 1 + sum(peer.connected for peer in self._mesh.status())
        if connected < self._context.q:
            reasons.append(
                f"connected with {connected} members, oneself included; {self._context.q} are "
                "needed to agree: check [[p2p.peers]] and the others' nodes"
            )
        prices = self._observer.prices
        blind = [
            feed.pair
            for feed, price in zip(self._network.table.feeds, prices, strict=False)
            if price.shortage is not None
        ]
        if blind:
            reasons.append(f"no own price for {', '.join(blind)}: see the sources")
        return reasons

    def _peers(self) -> tuple[PeerView, ...]:
        now = trio.current_time()
        now_ms = wall_clock_ms()

        def unix_ms(moment: float | None) -> int | None:
            return None if moment is None else now_ms - int((now - moment) * 1000)

        return tuple(
            PeerView(
                member=self._network.member_names[peer.member],
                index=peer.member,
                connected=peer.connected,
                since_ms=unix_ms(peer.since),
                last_heard_ms=unix_ms(peer.last_heard),
                frames_sent=peer.sent,
                frames_received=peer.received,
                frames_dropped=peer.dropped_frames,
                penalties=peer.penalties,
                invalid_messages=self._telemetry.invalid_messages[peer.member],
                last_error=peer.last_error,
            )
            for peer in self._mesh.status()
        )

    def _sources(self) -> tuple[SourceView, ...]:
        if self._feeds is None:
            return ()
        now_ms = wall_clock_ms()
        return tuple(
            SourceView(
                venue=source.venue,
                pair=f"{source.base}/{source.quote}",
                live=source.state.value == "live",
                reason=source.reason,
                quotes=source.quotes,
                reconnects=source.reconnects,
                last_quote_at_ms=(
                    None if source.last_quote_age_ms is None else now_ms - source.last_quote_age_ms
                ),
            )
            for source in self._feeds.health()
        )

    def _chains(self) -> tuple[ChainView, ...]:
        if self._publisher is None:
            return ()
        return tuple(map(ChainView.of, self._publisher.status()))

    @property
    def view(self) -> NodeView | None:
        """The newest view of the node."""
        return self._cell.newest

    def close(self) -> None:
        """Close the files; what the store holds is made durable."""
        self._journal.close()
        self._archive.close()
        self._store.close()


def _open_store(config: Config, new_member: bool) -> Store:
    """Open the data directory; only a member that is said to be new gets a fresh one."""
    try:
        return Store.open(config.node.data_dir)
    except StoreMissing:
        if not new_member:
            raise
        return Store.create(config.node.data_dir)


def _settle_memory() -> None:
    """Take what was loaded so far out of the collector's sight.

    It is never garbage, and to look through it takes a tenth of a second each time, in which the
    node stands still.
    """
    gc.collect()
    gc.freeze()


def _encode_state(state: State) -> bytes:
    assert isinstance(state, AgreedState)
    return state.encode()


def _words_of(state: State) -> tuple[int, ...]:
    assert isinstance(state, AgreedState)
    return words_of(state)


def _own_index(config: Config, network: NetworkFile, keys: KeySet) -> int:
    """Return this node's index in the committee; raise `ConfigurationError` if keys differ."""
    name = config.node.member
    if name is None or keys.bls is None:
        raise ConfigurationError(
            "node.member is not set: this version runs members only. Set it to this node's name in "
            "the committee file"
        )
    index = network.index_of(name)
    listed = network.members[index]
    if keys.bls.public_key != listed.bls_key:
        raise ConfigurationError(
            f"keys.bls is not the key that the committee file lists for {name!r}: use the key file "
            "that was made with this member's registration"
        )
    if keys.identity.public_key != listed.ed25519_key:
        raise ConfigurationError(
            f"keys.identity is not the identity that the committee file lists for {name!r}: use "
            "the key file that was made with this member's registration"
        )
    return index
