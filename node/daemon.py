"""The daemon: everything that one node runs, started in order and stopped in reverse.

trio runs the agreement, the committee's network and the store; one thread runs asyncio for the
exchanges, the chains and the API; signatures are verified in worker threads.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
import trio

from aggregation.push import push_deviations_ppm
from aggregation.state import AgreedState
from consensus.core import Core
from consensus.errors import InvalidMessage
from consensus.messages import EvidenceMessage, Successor
from consensus.safety import SafetyState
from node import network_file as committee_file
from node.api.view import (
    ChainView,
    Identity,
    NodeView,
    OffenceView,
    PeerView,
    PublishedReport,
    SourceView,
    ViewCell,
)
from node.asyncio_thread import AsyncioThread
from node.candidates import Candidates
from node.config import Config
from node.edges import Edges, Seat
from node.epoch_file import EpochFile
from node.epoch_file import load as load_epoch_file
from node.epoch_history import EpochHistory
from node.errors import ConfigurationError, MemberHeld, NetworkFileError, OperatorError
from node.evidence_book import EvidenceBook, Offence
from node.handover_control import HandoverControl
from node.journal import Journal, recent_observations, require_current
from node.keys.key_set import KeySet, load_keys
from node.log import configure_logging
from node.loop_lag import watch_asyncio, watch_trio
from node.metrics import Metrics
from node.network_file import NetworkFile
from node.observer import Observer
from node.own_signatures import OwnSignatures
from node.registration import MemberRecord
from node.reload import reload
from node.report import Report
from node.running_epoch import (
    RunningEpoch,
    check_joined,
    decode_successor,
    encode_successor,
    stored_epochs,
)
from node.runtime import Halted, Runtime, TwinFound, wall_clock_ms
from node.safety_transfer import require_free
from node.signer import Signer, Silent
from node.stopping import end_within
from node.store import ArchiveReader, Retention, Store, StoreMissing, safety_for_start
from node.store.store import JOURNAL_DIRECTORY
from node.switchboard import Switchboard, peer_number, sealed
from node.telemetry import Telemetry
from node.twin_watch import TwinWatch
from node.validity import Reminder

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings stubs of trio that lack the name

    from feeds.service import FeedService
    from node.network.address import PeerAddress
    from node.network.mesh import Mesh
    from node.publisher import ChainSettings, EpochTerms, Publisher

SNAPSHOT_SECONDS = 1.0
GIL_SECONDS_MAX = 0.001
"""So long a thread computes while another one waits for the interpreter."""

BEHIND_VIEWS_MAX = 64
SILENCE_MS_MAX = 10_000
CLOCK_OFFSET_MS_MAX = 1_000
"""Without a certificate for this long the node is not ready."""

LINGER_SECONDS = 20
LINGER_SECONDS_MAX = 600
"""A member that was removed serves those that are behind for so long, then stops: the longer while
no quorum of the next committee is known to know of it."""

JOIN_EVERY_SECONDS = 1.0

TWIN_ADVICE = (
    "Either the member runs a second time, or its keys were stolen, or its data directory is an "
    "older copy. It signs nothing more and does not start here again by itself. Find the other "
    "one and stop it; take what it signed from there with `didyma safety export` and bring it "
    "here with `import`, or go on there. If there is no other one, have the committee exchange "
    "the keys."
)
"""What to do when somebody else signs with the member's keys."""

_log = structlog.get_logger("node.daemon")


def run(
    config: Config,
    *,
    new_member: bool = False,
    edges: Edges | None = None,
    read_again: Callable[[], Config] | None = None,
) -> None:
    """Run a member's node until it is told to stop (SIGINT or SIGTERM).

    At SIGHUP it takes over what can change of `read_again`, the configuration as its file is then.
    `edges` may change what passes between the member and the world: the testnet's personas use it.
    Raises `OperatorError` for whatever an operator can mend.
    """
    configure_logging(config.log.format, config.log.level)
    node = Node(config, new_member=new_member, edges=edges or Edges(), read_again=read_again)
    try:
        trio.run(node.run)
    except BaseExceptionGroup as group:
        raise _why(group) from None
    finally:
        node.close()


def _why(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what an operator must know of all that went wrong at once; a fault of ours as it is.

    What came first often makes other tasks fail too.
    """
    leaves = list(_leaves(group))
    if not all(isinstance(leaf, OperatorError | Halted | Silent) for leaf in leaves):
        return group
    for leaf in leaves:
        if isinstance(leaf, TwinFound):
            return MemberHeld(f"the node halted: {leaf}. {TWIN_ADVICE}")
    for leaf in leaves:
        if isinstance(leaf, OperatorError):
            return leaf
    return OperatorError(f"the node halted: {leaves[0]}")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


class Node:
    """One member's node. Construction opens what it needs and refuses what does not fit."""

    def __init__(
        self,
        config: Config,
        *,
        new_member: bool,
        edges: Edges,
        read_again: Callable[[], Config] | None = None,
    ) -> None:
        self._config = config
        self._read_again = read_again
        self._edges = edges
        self._network = committee_file.load(config.node.network_file)
        keys = load_keys(config.keys)
        joins = _epoch_to_join(config, self._network)
        listing = joins or self._network
        _check_listed(config, listing.members, listing.name, keys)
        if keys.bls is None:
            raise ConfigurationError("a member needs a BLS key: set keys.bls")
        self._keys = keys
        self._bls = keys.bls
        self._joins = joins
        self._new_member = new_member
        self._began_ms = wall_clock_ms()
        self._store = _open_store(config, new_member)
        try:
            self._open()
        except BaseException:
            self._store.close()
            raise

    def _open(self) -> None:
        require_free(self._store)
        self._epochs = stored_epochs(self._network, self._store)
        self._addresses: dict[int, PeerAddress] = {}
        self._candidates: Candidates | None = None
        self._runtime: Runtime | None = None
        epoch = self._epoch
        if self._joins is not None:
            check_joined(self._joins, self._epochs)
        if self._me is None and (self._joins is None or self._joins.epoch <= epoch.context.epoch):
            raise ConfigurationError(
                f"this node's BLS key is not one of epoch {epoch.context.epoch} of {epoch.name}: "
                "the committee goes on without it. Keep its data; it may join a later epoch with "
                "node.epoch_file"
            )
        if self._me is None and not self._store.is_own_key(self._bls.public_key):
            # Said now, not at the handover: nobody knows then whether the key was used before.
            raise ConfigurationError(
                f"the data directory {self._config.node.data_dir} was not made together with this "
                "BLS key, so nobody knows what the key signed: join with the directory that "
                "`didyma init` made with it"
            )
        self._journal = Journal(self._config.node.data_dir / JOURNAL_DIRECTORY)
        self._metrics = Metrics()
        self._reminder = Reminder()
        self._observer = Observer(epoch.table)
        self._telemetry = Telemetry(
            epoch,
            self._identity(),
            self._observer,
            self._store,
            self._metrics,
            self._on_report,
            height=epoch.root(self._store).height,
        )
        self._cell = ViewCell()
        self._archive = ArchiveReader(self._config.node.data_dir)
        self._mesh = self._make_mesh()
        self._board = Switchboard(self._mesh, self._store, self._epochs[:-1])
        self._evidence = EvidenceBook(
            self._store, lambda: self._epochs, self._tell_all, self._convicted
        )
        self._board.on_evidence = self._evidence.receive
        self._feeds: FeedService | None = None
        self._feeds_task: asyncio.Task[None] | None = None
        self._publisher: Publisher | None = None
        self._submit: Callable[[Report, AgreedState], None] = lambda _report, _state: None
        self._thread: AsyncioThread | None = None
        if self._me is not None:
            self._prepare(self._me, at_start=True)

    @property
    def _epoch(self) -> RunningEpoch:
        """The newest epoch that is known."""
        return self._epochs[-1]

    @property
    def _me(self) -> int | None:
        """The index of this node in it, unless it is no member."""
        return self._epoch.index_of(self._bls.public_key)

    def _prepare(self, me: int, *, at_start: bool) -> None:
        """Make ready to take part in the newest epoch."""
        epoch, bls, identity = self._epoch, self._bls, self._keys.identity
        context = epoch.context
        safety = safety_for_start(
            self._store,
            context.domain,
            context.genesis_qc,
            bls.public_key,
            # Whoever was in the epoch before has signed nothing in this one, which began with it.
            new_member=self._new_member or self._was_member(),
            known_bls_keys=() if self._was_member() else self._keys_listed(),
        )
        require_current(self._config.node.data_dir / JOURNAL_DIRECTORY, safety)
        self._signed_before = safety.last_voted_view
        own, watch = self._own_signatures(me, safety), None
        node = self._config.node
        # Not at a handover, where all others would wait for this member.
        if own is not None and at_start and node.twin_watch_seconds:
            watch = TwinWatch(node.twin_watch_views, node.twin_watch_seconds, self._is_linked)
        root = epoch.root(self._store)
        if root.block is None and safety.high_qc.view > 0:
            _log.warning(
                "store.blocks_lost",
                advice="what was signed is all there; the blocks come from the other members",
            )
        core = Core(context, me, epoch.rule, safety, root)
        self._journal.started(
            instance=self._store.instance,
            network=context.network,
            epoch=context.epoch,
            domain=context.domain,
            member=me,
            bls_key=bls.public_key,
            ed25519_key=identity.public_key,
        )
        # A kill may have come between the last commit and its entry; a timeout is then repeated.
        self._journal.persisted(safety)
        self._telemetry.begin(epoch, self._identity())
        self._observer.begin(epoch.table)
        signer = Signer(context.domain, bls, identity)
        self._candidates = Candidates(epoch, me, self._store, signer.approval)
        edges = self._edges
        seat = Seat(epoch, me, root, self._keys, self._journal, self._mesh)
        self._runtime = Runtime(
            epoch,
            me,
            core,
            signer=signer,
            store=self._store,
            journal=self._journal,
            network=edges.network(seat, self._board.begin(epoch)),
            observe=lambda now_ms: edges.observation(self._observer.observe(now_ms)),
            candidates=self._candidates,
            evidence=self._evidence,
            events=edges.events(self._telemetry),
            expect=self._expect,
            own=own,
            watch=watch,
        )

    def _own_signatures(self, me: int, safety: SafetyState) -> OwnSignatures | None:
        if self._edges.signs_beside:
            return None
        context = self._epoch.context
        journal = self._config.node.data_dir / JOURNAL_DIRECTORY
        observed = recent_observations(journal, context.domain)
        return OwnSignatures(context, me, safety, since_ms=self._began_ms, observed=observed)

    def _is_linked(self) -> bool:
        peers = self._mesh.status()
        return not peers or any(peer.connected for peer in peers)

    def _convicted(self, offence: Offence) -> None:
        self._telemetry.convicted(offence)
        epoch, me = self._epoch, self._me
        if self._edges.signs_beside or me is None or self._runtime is None:
            return
        # What was signed before this process began is shown, and no sign that a copy runs now.
        if (offence.epoch, offence.member) == (epoch.context.epoch, me) and (
            offence.view > self._signed_before
        ):
            evidence = offence.id.hex()
            self._runtime.was_convicted(
                f"proof of {offence.kind} in view {offence.view}, `didyma evidence show {evidence}`"
            )

    def _expect(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.expect(seconds)

    def _keys_listed(self) -> list[bytes]:
        return [member.bls_key for epoch in self._epochs for member in epoch.members]

    def _was_member(self) -> bool:
        return len(self._epochs) > 1 and (
            self._store.load_safety(self._epochs[-2].context.domain) is not None
        )

    def _identity(self) -> Identity:
        epoch, me = self._epoch, self._me
        return Identity(
            version=version("didyma"),
            network_name=self._network.name,
            network=epoch.context.network.hex(),
            domain=epoch.context.domain.hex(),
            member=None if me is None else epoch.member_names[me],
            member_index=me,
            instance=self._store.instance,
            started_at_ms=wall_clock_ms(),
        )

    def _make_mesh(self) -> "Mesh":
        from node.network.mesh import Mesh  # libp2p takes over a second to import

        if self._me is not None:
            addresses = {peer.member for peer in self._config.p2p.peers}
            for index, member in enumerate(self._epoch.members):
                if index != self._me and member.name not in addresses:
                    raise ConfigurationError(
                        f"no address for member {member.name!r}: add a [[p2p.peers]] entry with "
                        "the address at which its operator says it listens"
                    )
        self._addresses = self._peers_wanted()
        return Mesh(
            identity_seed=self._keys.identity.reveal_seed(),
            me=peer_number(self._keys.identity.public_key),
            peers=self._addresses,
            listen=self._config.p2p.listen,
        )

    def _peers_wanted(self) -> "dict[int, PeerAddress]":
        """Return the members of this epoch, of the one before, and of the one that is joined."""
        from node.network.address import PeerAddress

        addresses = {peer.member: peer.address for peer in self._config.p2p.peers}
        members = [member for epoch in self._epochs[-2:] for member in epoch.members]
        if self._joins is not None and self._me is None:
            members += self._joins.members
        own = self._keys.identity.public_key
        return {
            peer_number(member.ed25519_key): PeerAddress(
                member.ed25519_key, addresses.get(member.name), member.name
            )
            for member in members
            if member.ed25519_key != own
        }

    async def run(self) -> None:
        """Run until a signal comes, the member is removed, or what fails must stop the node."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async with trio.open_nursery() as whole:
                whole.start_soon(self._obey, signals, whole.cancel_scope)
                async with AsyncioThread() as asyncio_thread, trio.open_nursery() as nursery:
                    self._thread = asyncio_thread
                    async with self._asyncio_side(asyncio_thread):
                        await nursery.start(self._mesh.run)
                        await nursery.start(self._board.run, list(self._addresses))
                        await nursery.start(self._agree, nursery)
                        nursery.start_soon(self._show)
                        nursery.start_soon(self._evidence.run)
                        nursery.start_soon(watch_trio, self._metrics)
                        _settle_memory()
                        _share_interpreter()
                        _log.info("node_started", member=self._telemetry.member)
                        await trio.sleep_forever()
                whole.cancel_scope.cancel()

    async def _obey(self, signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                await self._reload()
                continue
            _log.info("node_stopping", signal=signal.Signals(number).name)
            end_within()
            everything.cancel()
            return

    async def _reload(self) -> None:
        """Take over what can change of the configuration's file, all of that or nothing."""
        if self._read_again is None:
            _log.warning("reload.refused", reason="this node was not started from a file")
            return
        own = self._config.node.member
        needed = {member.name for member in self._epoch.members if member.name != own}
        try:
            read = await trio.to_thread.run_sync(self._read_again)
            taken = reload(
                self._config, read, frozenset(needed) if self._me is not None else frozenset()
            )
        except OperatorError as error:
            _log.error(
                "reload.refused",
                reason=str(error),
                advice="the configuration from before stays in force, as a whole",
            )
            return
        old, self._config = self._config, taken.config
        new = self._config
        if new.log != old.log:
            configure_logging(new.log.format, new.log.level)
        if new.p2p.peers != old.p2p.peers:
            self._readdress()
        if self._thread is not None:
            if new.feeds != old.feeds:
                self._thread.call(self._restart_feeds)
            if new.chains != old.chains and self._publisher is not None:
                self._thread.call(self._publisher.change, _published(new))
        _log.info("reload.done", changed=list(taken.changed))
        if taken.waiting:
            _log.warning(
                "reload.needs_restart",
                keys=list(taken.waiting),
                advice="these take force when the node is started again",
            )

    def _readdress(self) -> None:
        """Dial the other members where the configuration says now; links that stand stay."""
        wanted = self._peers_wanted()
        for peer, address in wanted.items():
            if peer in self._addresses and self._addresses[peer] != address:
                self._mesh.readdress(peer, address)
                self._addresses[peer] = address

    async def _agree(
        self,
        nursery: trio.Nursery,
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Take part in one epoch after the other, until one goes on without this member."""
        if self._me is None:
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await self._join()
        while self._me is not None:
            runtime = self._runtime
            assert runtime is not None
            stored = [block for _, block in self._store.uncommitted(self._epoch.context.domain)]
            successor = await runtime.run(stored, task_status=task_status)
            task_status = trio.TASK_STATUS_IGNORED
            self._follow(successor)
        _log.warning(
            "member_removed",
            epoch=self._epoch.context.epoch,
            advice="the committee goes on without this member; the node stops",
        )
        await self._linger()
        nursery.cancel_scope.cancel()

    async def _linger(self) -> None:
        """Serve those that need blocks of the epoch that ended, or the proof that it did.

        Were all members new, and none of them here yet, nobody else could ever tell them.
        """
        epoch = self._epoch
        before = {member.ed25519_key for member in self._epochs[-2].members}
        peers = {peer_number(member.ed25519_key): member for member in epoch.members}
        with trio.move_on_after(LINGER_SECONDS_MAX):
            await trio.sleep(LINGER_SECONDS)
            while True:
                linked = {peer.member for peer in self._mesh.status() if peer.connected}
                stay = {p for p, m in peers.items() if m.ed25519_key in before and p in linked}
                if len(stay | (self._board.informed & peers.keys())) >= epoch.context.q:
                    return
                await trio.sleep(1)

    async def _join(self) -> None:
        """Follow the handovers from the first epoch to the one that lists this member."""
        answers = self._board.join()
        while self._me is None:
            epoch = self._epoch
            for peer in self._addresses:
                self._board.ask_successor(peer, epoch.context.epoch)
            with trio.move_on_after(JOIN_EVERY_SECONDS):
                peer, of_epoch, successor = await answers.receive()
                if of_epoch != epoch.context.epoch:
                    continue  # Another peer's answer came first.
                try:
                    await trio.to_thread.run_sync(epoch.check, successor)
                except InvalidMessage as error:
                    self._mesh.drop(peer, str(error))
                    continue
                if self._joins is not None:
                    # What the operator was given is more to be trusted than old committees' keys.
                    check_joined(self._joins, [*self._epochs, epoch.next(successor)])
                await trio.to_thread.run_sync(
                    self._store.save_successor, epoch.context.domain, encode_successor(successor)
                )
                self._follow(successor)

    def _follow(self, successor: Successor) -> None:
        """Go on to the epoch after the newest one, the end of which is in the store."""
        ended = self._epoch
        self._board.end(ended)
        self._epochs.append(ended.next(successor))
        epoch = self._epoch
        wanted = self._peers_wanted()
        for peer in self._addresses.keys() - wanted.keys():
            self._mesh.remove(peer)
            self._board.remove(peer)
        for peer, address in wanted.items():
            self._mesh.add(peer, address)
            self._board.add(peer)
            if address.multiaddr is None and peer not in self._addresses:
                _log.warning("peer.without_address", peer=address.name)
        self._addresses = wanted
        _log.info("epoch.begins", epoch=epoch.context.epoch, members=list(epoch.member_names))
        self._candidates = None
        if self._me is not None:
            self._prepare(self._me, at_start=False)
        else:
            self._telemetry.begin(epoch, self._identity())
        if self._thread is not None:
            if self._publisher is not None:
                self._thread.call(self._publisher.begin, self._terms_of(epoch))
            if epoch.table != ended.table:
                self._thread.call(self._restart_feeds)

    def _restart_feeds(self) -> None:
        if self._feeds_task is not None:
            self._feeds_task.cancel("another table, or other endpoints")

    async def _run_feeds(self) -> None:
        """Collect quotes for the newest epoch's feeds; in the asyncio thread."""
        from feeds.service import FeedService
        from feeds.venue import VenueEndpoint

        assert self._thread is not None
        while True:
            table = self._epoch.table
            endpoints = {
                venue: VenueEndpoint(endpoint.ws_url, endpoint.rest_url)
                for venue, endpoint in self._config.feeds.endpoints.items()
            }
            self._feeds = FeedService(
                table,
                endpoints,
                self._observer.take,
                withdraw=self._observer.withdraw,
                on_socket=self._thread.let_wait,
            )
            self._feeds_task = asyncio.create_task(self._feeds.run())
            await asyncio.wait({self._feeds_task})
            if not self._feeds_task.cancelled():
                self._feeds_task.result()
                return

    @asynccontextmanager
    async def _asyncio_side(self, thread: AsyncioThread) -> AsyncIterator[None]:
        """Start the exchanges, the API and the publisher in the asyncio thread."""
        from node.api.server import ApiServer, Listeners

        config = self._config
        thread.start(self._run_feeds)
        thread.start(watch_asyncio, self._metrics)
        self._start_publisher(thread)
        self._api = ApiServer(
            cell=self._cell,
            archive=self._archive,
            network_file=committee_file.encode(self._network),
            metrics=self._metrics,
            epochs=EpochHistory(self._epochs, self._store),
            handover=HandoverControl(lambda: (self._epoch, self._candidates)),
            evidence=self._evidence,
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
        account = self._keys.account
        if account is None or not any(chain.publish for chain in self._config.chains):
            return
        from node.publisher import Publisher  # web3 takes seconds to import

        publisher = Publisher(
            _published(self._config),
            network=self._network.network,
            terms=self._terms_of(self._epochs[0]),
            private_key=bytes(account.account.key),
            on_stored=lambda chain, seconds: self._metrics.certificate_to_chain.labels(
                chain
            ).observe(seconds),
        )
        for epoch in self._epochs[1:]:
            publisher.begin(self._terms_of(epoch))
        self._publisher = publisher

        def submit(report: Report, state: AgreedState) -> None:
            table = self._epochs[report.epoch].table
            thread.call(publisher.submit, report, push_deviations_ppm(table, state))

        self._submit = submit
        thread.start(publisher.run)

    def _terms_of(self, epoch: RunningEpoch) -> "EpochTerms":
        from node.publisher import EpochTerms, succession_of

        me = epoch.index_of(self._bls.public_key)
        number = epoch.context.epoch
        succession = None
        if number:
            ended = self._store.successor(self._epochs[number - 1].context.domain)
            assert ended is not None
            succession = succession_of(epoch, decode_successor(ended))
        return EpochTerms(number, epoch.table.feeds, epoch.context.n, me, succession)

    def _on_report(self, report: Report, published: PublishedReport, state: AgreedState) -> None:
        self._submit(report, state)
        self._api.publish(published)

    # What others see.

    async def _show(self) -> None:
        while True:
            await trio.sleep(SNAPSHOT_SECONDS)
            self._show_now()
            self._meet_newcomers()

    def _meet_newcomers(self) -> None:
        """Let in the members of the next epoch that this member approves of, before it begins.

        They then know the way to the present epoch, and wait for its end.
        """
        from node.network.address import PeerAddress

        if self._candidates is None or self._me is None:
            return
        addresses = {peer.member: peer.address for peer in self._config.p2p.peers}
        for view in self._candidates.views():
            if self._me not in view.approved_by:
                continue
            for member in view.file.members:
                peer = peer_number(member.ed25519_key)
                if peer not in self._addresses and peer != self._mesh.me:
                    address = PeerAddress(member.ed25519_key, addresses.get(member.name))
                    self._addresses[peer] = address
                    self._mesh.add(peer, address)
                    self._board.add(peer)

    def _show_now(self) -> None:
        view = self._telemetry.snapshot(
            not_ready=self._not_ready(),
            warnings=self._warnings(),
            peers=self._peers(),
            sources=self._sources(),
            chains=self._chains(),
            offences=self._offences(),
        )
        self._cell.swap(view)

    def _warnings(self) -> list[str]:
        epoch = self._epoch
        ends = self._reminder.look(epoch.context.epoch, epoch.valid_until_ms, wall_clock_ms())
        warnings = [] if ends is None else [ends]
        offset_ms = None if self._feeds is None else self._feeds.clock_offset_ms()
        if offset_ms is not None and abs(offset_ms) > CLOCK_OFFSET_MS_MAX:
            behind = "behind" if offset_ms > 0 else "ahead of"
            warnings.append(
                f"this machine's clock seems to be {abs(offset_ms)} ms {behind} the exchanges': "
                "look at its time synchronisation"
            )
        return warnings

    def _tell_all(self, epoch: int, evidence: bytes) -> None:
        """Send evidence of an epoch to every member that is known."""
        frame = sealed(epoch, EvidenceMessage(evidence))
        for peer in self._addresses:
            self._mesh.send(peer, frame)

    def _offences(self) -> tuple[OffenceView, ...]:
        return tuple(
            OffenceView(
                one.name, one.kind, one.epoch, one.view, one.found_at_ms, "0x" + one.id.hex()
            )
            for one in self._evidence.newest
        )

    def _not_ready(self) -> list[str]:
        reasons = []
        core = self._runtime.core if self._runtime is not None else None
        if core is not None and core.high_qc.view - core.root.view > BEHIND_VIEWS_MAX:
            reasons.append(catching_up(core))
        if self._runtime is not None and self._runtime.listens:
            reasons.append("listens whether this member runs elsewhere, before it signs anything")
        silent_ms = self._telemetry.silent_ms
        if silent_ms is None:
            reasons.append("no round has been certified since the start")
        elif silent_ms > SILENCE_MS_MAX:
            reasons.append(f"no round has been certified for {silent_ms // 1000} s")
        connected = 1 + sum(peer.connected for peer in self._mesh.status())
        quorum = self._epoch.context.q
        if self._me is None:
            reasons.append("not a member of the present epoch")
        if wall_clock_ms() > self._epoch.valid_until_ms:
            reasons.append("the configuration in office is not valid any more")
        if connected < quorum:
            reasons.append(
                f"connected with {connected} members, oneself included; {quorum} are "
                "needed to agree: check [[p2p.peers]] and the others' nodes"
            )
        prices = self._observer.prices
        blind = [
            feed.pair
            for feed, price in zip(self._epoch.table.feeds, prices, strict=False)
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

        epoch = self._epoch
        indices = {peer_number(m.ed25519_key): i for i, m in enumerate(epoch.members)}
        return tuple(
            PeerView(
                member=epoch.member_names[indices[peer.member]],
                index=indices[peer.member],
                connected=peer.connected,
                since_ms=unix_ms(peer.since),
                last_heard_ms=unix_ms(peer.last_heard),
                frames_sent=peer.sent,
                frames_received=peer.received,
                frames_dropped=peer.dropped_frames,
                penalties=peer.penalties,
                invalid_messages=self._telemetry.invalid_messages[indices[peer.member]],
                last_error=peer.last_error,
            )
            for peer in self._mesh.status()
            if peer.member in indices
        )

    def _sources(self) -> tuple[SourceView, ...]:
        if self._feeds is None:
            return ()
        now_ms = wall_clock_ms()
        return tuple(
            SourceView(
                venue=source.venue,
                pair=f"{source.base}/{source.quote}",
                live=source.delivers,
                reason=source.reason,
                quotes=source.quotes,
                reconnects=source.reconnects,
                last_quote_at_ms=(
                    None if source.last_quote_age_ms is None else now_ms - source.last_quote_age_ms
                ),
                state=source.state.value,
                polled=source.polled,
                frames=source.frames,
                faults=source.faults,
                last_loss=source.last_loss,
                clock_offset_ms=source.clock_offset_ms,
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
        self._telemetry.close()
        self._store.close()


def _open_store(config: Config, new_member: bool) -> Store:
    """Open the data directory; only a member that is said to be new gets a fresh one."""
    retention = Retention(
        blocks_max=config.store.blocks_max,
        reports_max=config.store.reports_max,
        report_age_ms_max=config.store.report_days_max * 24 * 3_600_000,
    )
    try:
        return Store.open(config.node.data_dir, retention)
    except StoreMissing:
        if not new_member:
            raise
        return Store.create(config.node.data_dir, retention)


def _published(config: Config) -> "list[ChainSettings]":
    """Return the chains that this node transmits to."""
    from node.publisher import ChainSettings

    return [ChainSettings.of(chain) for chain in config.chains if chain.publish]


def catching_up(core: Core) -> str:
    """Say how far a node is that the others have left behind."""
    at = f"it is at view {core.root.view}, the others at view {core.high_qc.view}"
    wanted = core.height_wanted
    if wanted is None or wanted <= core.root.height:
        return f"catching up: {at}"
    return f"catching up: {core.root.height} of {wanted} blocks; {at}"


def _settle_memory() -> None:
    """Take what was loaded so far out of the collector's sight.

    It is never garbage, and to look through it takes a tenth of a second each time, in which the
    node stands still.
    """
    gc.collect()
    gc.freeze()


def _share_interpreter() -> None:
    """Let the consensus wait a millisecond, not five, for a thread that computes."""
    sys.setswitchinterval(GIL_SECONDS_MAX)


def _epoch_to_join(config: Config, network: NetworkFile) -> EpochFile | None:
    """Return the configuration with which this node joins, if the file names one."""
    path = config.node.epoch_file
    if path is None:
        return None
    file = load_epoch_file(path)
    if file.network != network.network:
        raise ConfigurationError(f"{path} is of another network than {config.node.network_file}")
    return file


def _check_listed(
    config: Config, members: Sequence[MemberRecord], network_name: str, keys: KeySet
) -> None:
    """Check that this node is a member, with its own keys; raise `ConfigurationError`."""
    name = config.node.member
    if name is None or keys.bls is None:
        raise ConfigurationError(
            "node.member is not set: this version runs members only. Set it to this node's name in "
            "the committee file"
        )
    names = [member.name for member in members]
    if name not in names:
        raise NetworkFileError(
            f"{name!r} is not a member of {network_name}; its members are {', '.join(names)}. A "
            "member of a later epoch sets node.epoch_file to the configuration that lists it"
        )
    listed = members[names.index(name)]
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
