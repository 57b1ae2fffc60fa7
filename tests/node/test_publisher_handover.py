"""The publisher takes a real Oracle from one epoch to the next, over real JSON-RPC."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pytest
from blspy import AugSchemeMPL, PopSchemeMPL

from aggregation.encoding import encode_answer, feed_root, pack_words
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.status import Status
from aggregation.table import FeedTable
from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    bitmap_of,
    network_id,
    registration_digest,
)
from consensus.handover import terms_of
from consensus.messages import HandoverCertificate, Header
from contracts import client, epochs
from contracts.points import decompress_g1
from node.publisher import ChainSettings, ChainStatus, EpochTerms, Publisher, Succession
from node.publisher.call import Step
from node.publisher.succession import Handing
from node.report import Report, answers_of
from testnet.chain.evm import EvmChain
from testnet.chain.server import ChainServer, serve

CHAIN_ID = 77
PATIENCE_S = 60


def now_ms() -> int:
    return int(time.time() * 1000)


DECIDED_MS = now_ms()


@dataclass(frozen=True)
class Committee:
    """One epoch's members, with all that they sign."""

    epoch: int
    numbers: range
    pairs: tuple[str, ...] = ("BTC", "ETH")
    genesis: "Committee | None" = None
    valid_ms: int = 86_400_000

    @cached_property
    def table(self) -> FeedTable:
        venues = ("coinbase_exchange", "kraken")
        return FeedTable(
            tuple(
                FeedSpec(
                    *(base, "USD", 7, 1, 2, 5_000, 1_000, 30_000),
                    tuple(SourceSpec(venue, base, "USD", 10, 5_000) for venue in venues),
                )
                for base in self.pairs
            )
        )

    @cached_property
    def keys(self) -> list[Any]:
        return [AugSchemeMPL.key_gen(bytes([number]) * 32) for number in self.numbers]

    @cached_property
    def configuration(self) -> Configuration:
        points = [bytes(key.get_g1()) for key in self.keys]
        members = tuple(
            Member(decompress_g1(point), point, bytes([number]) * 32, bytes([number]) * 20)
            for number, point in zip(self.numbers, points, strict=True)
        )
        valid_until_ms = DECIDED_MS + self.valid_ms + self.epoch
        return Configuration(members, self.table.digest(), Timing(), valid_until_ms)

    @cached_property
    def network(self) -> bytes:
        if self.genesis is not None:
            return self.genesis.network
        return network_id("test", self.configuration.hash)

    @cached_property
    def context(self) -> EpochContext:
        return EpochContext(self.network, self.epoch, self.configuration, bytes(32), 0)

    @cached_property
    def proofs(self) -> tuple[epochs.MemberProof, ...]:
        return tuple(
            epochs.MemberProof(
                bytes(PopSchemeMPL.pop_prove(key)),
                self.signed(
                    key, registration_digest(self.network, member.operator, member.ed25519_key)
                ),
            )
            for key, member in zip(self.keys, self.configuration.members, strict=True)
        )

    def signed(self, key: Any, digest: bytes) -> bytes:
        return bytes(PopSchemeMPL.sign(key, digest))

    def certify(self, digest: bytes) -> tuple[bytes, bytes]:
        shares = [PopSchemeMPL.sign(key, digest) for key in self.keys]
        return bitmap_of(range(len(self.keys))), bytes(PopSchemeMPL.aggregate(shares))

    def succession(self, after: "Committee") -> Succession:
        terms = terms_of(after.context, self.configuration.hash, b"\xde" * 32, DECIDED_MS)
        certificate = HandoverCertificate(
            self.configuration.hash, b"\xde" * 32, DECIDED_MS, *after.certify(terms.digest)
        )
        return Succession(self.epoch, self.configuration, self.table, self.proofs, certificate)

    def terms(self, me: int | None, after: "Committee | None" = None) -> EpochTerms:
        succession = None if after is None else self.succession(after)
        return EpochTerms(self.epoch, self.table.feeds, len(self.keys), me, succession)

    def report(self, view: int, at_ms: int, price: int = 10**9) -> Report:
        words = pack_words([encode_answer(price, 1, Status.LIVE) for _ in self.pairs])
        header = Header(view, at_ms, feed_root(words), b"\x77" * 32)
        identity = header.id(self.context.domain)
        bitmap, signature = self.certify(identity)
        return Report(
            network=self.network,
            epoch=self.epoch,
            header=header,
            id=identity,
            words=words,
            bitmap=int.from_bytes(bitmap, "big"),
            signature=signature,
            answers=answers_of(words, [(feed.pair, 7) for feed in self.table.feeds]),
        )


FIRST = Committee(0, range(1, 5))
SECOND = Committee(1, range(2, 7), ("BTC", "ETH", "SOL"), FIRST)
THIRD = Committee(2, range(5, 9), ("BTC", "ETH", "SOL"), FIRST)


@dataclass
class World:
    """A served chain with the first committee's Oracle."""

    server: ChainServer
    oracle: bytes
    publishers: list[Publisher] = field(default_factory=list)

    def get(self, function: str) -> bytes:
        return self.server.chain.call(self.oracle, client.encode_getter(function))

    @property
    def stored(self) -> client.StoredPlace:
        return client.decode_stored(self.get("stored"))

    def register(self, *indices: int) -> None:
        members, proofs = SECOND.configuration.members, SECOND.proofs
        for calldata in epochs.encode_register(
            [members[i] for i in indices], [proofs[i] for i in indices]
        ):
            assert self.server.chain.transact(
                self.oracle, calldata, sender=self.server.chain.accounts[9]
            ).succeeded

    @contextlib.asynccontextmanager
    async def publisher(
        self, me: int | None, account: int, **changes: Any
    ) -> AsyncIterator[Publisher]:
        settings = ChainSettings(
            name="test",
            chain_id=CHAIN_ID,
            rpc_urls=(self.server.rpc_url,),
            oracle=self.oracle,
            stage_ms=300,
            poll_ms=60,
            pending_poll_ms=30,
            stuck_ms=60_000,
        )
        publisher = Publisher(
            [replace(settings, **changes)],
            network=FIRST.network,
            terms=FIRST.terms(me),
            private_key=self.server.chain.accounts[account].private_key,
        )
        task = asyncio.create_task(publisher.run())
        try:
            yield publisher
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    chain = EvmChain(chain_id=CHAIN_ID)
    deployer = chain.accounts[9]
    oracle = chain.deploy(
        epochs.encode_deploy(
            name="test", configuration_hash=FIRST.configuration.hash, max_future_ms=3_600_000
        ),
        sender=deployer,
    )
    members = FIRST.configuration.members
    for calldata in (
        *epochs.encode_register(members, FIRST.proofs),
        epochs.encode_open(FIRST.configuration, FIRST.table),
    ):
        assert chain.transact(oracle, calldata, sender=deployer, gas=2**24).succeeded
    async with serve(chain, interval_seconds=0) as server:

        async def mine() -> None:
            while True:
                await asyncio.sleep(0.04)
                await server.producer.mine()

        miner = asyncio.create_task(mine())
        try:
            yield World(server, oracle)
        finally:
            miner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await miner


def status_of(publisher: Publisher) -> ChainStatus:
    (status,) = publisher.status()
    return status


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_the_oracle_is_handed_over_and_fed_under_the_next_epoch() -> None:
    async def scenario() -> None:
        async with world() as there, there.publisher(0, 0) as publisher:
            publisher.submit(FIRST.report(9, now_ms() - 500))
            await until(lambda: there.stored.view == 9)
            publisher.begin(SECOND.terms(0, FIRST))
            at_ms = now_ms()
            publisher.submit(SECOND.report(1, at_ms))
            await until(lambda: there.stored == client.StoredPlace(1, 1, at_ms))
            assert there.get("domain") == SECOND.context.domain
            await until(lambda: status_of(publisher).pushes_total == 2)
            status = status_of(publisher)
            # Two members are new, and registered in one transaction; the second hands over.
            assert status.successions == 2
            assert (status.reverted, status.errors) == (0, 0)
            # An Oracle that is two epochs behind goes through both.
            publisher.begin(THIRD.terms(None, SECOND))
            await until(lambda: there.stored.epoch == 2)
            await until(lambda: status_of(publisher).successions == 4)

    asyncio.run(scenario())


def test_what_others_registered_is_not_registered_again() -> None:
    async def scenario() -> None:
        async with world() as there:
            there.register(3)
            async with there.publisher(0, 0) as publisher:
                publisher.begin(SECOND.terms(0, FIRST))
                await until(lambda: there.stored.epoch == 1)
                await until(lambda: status_of(publisher).successions == 2)
                assert status_of(publisher).gas_used < 400_000 + 600_000

    asyncio.run(scenario())


def test_transmitters_share_the_work_and_none_is_hurt() -> None:
    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            there = await stack.enter_async_context(world())
            publishers = [
                await stack.enter_async_context(there.publisher(me, me)) for me in (0, 1, 2)
            ]
            for publisher in publishers:
                publisher.begin(SECOND.terms(None, FIRST))
                publisher.submit(SECOND.report(1, now_ms()))
            await until(lambda: there.stored.view == 1)
            await until(lambda: all(status_of(p).stored_view == 1 for p in publishers))
            statuses = list(map(status_of, publishers))
            assert sum(status.successions for status in statuses) == 2
            assert not any(status.reverted or status.errors for status in statuses)

    asyncio.run(scenario())


def test_an_oracle_whose_term_is_over_is_given_up_with_the_reason() -> None:
    """What the contract would refuse is not sent."""

    async def scenario() -> None:
        async with world() as there, there.publisher(0, 0) as publisher:
            late = SECOND.succession(FIRST)
            certificate = HandoverCertificate(
                late.certificate.configuration_hash,
                late.certificate.deciding_id,
                FIRST.configuration.valid_until_ms + 1,
                late.certificate.bitmap,
                late.certificate.aggregate,
            )
            terms = SECOND.terms(0, FIRST)
            publisher.begin(replace(terms, succession=replace(late, certificate=certificate)))
            await until(lambda: "cannot be handed over" in status_of(publisher).reason)
            assert status_of(publisher).gas_used == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("block_gas", "members"), [(100_000, 1), (900_000, 2), (30_000_000, 5), (2**40, 5)]
)
def test_each_transaction_fits_a_block(block_gas: int, members: int) -> None:
    succession = SECOND.succession(FIRST)
    registered, calls = [False] * 5, 0
    while not all(registered):
        call = Handing(succession, tuple(registered)).call(block_gas)
        assert call.purpose is Step.REGISTRATION
        assert call.gas <= min(block_gas, 2**24)
        first = registered.index(False)
        part = range(first, min(first + members, 5))
        assert (call.calldata,) == tuple(
            epochs.encode_register(
                [succession.configuration.members[i] for i in part],
                [succession.proofs[i] for i in part],
            )
        )
        for index in part:
            registered[index] = True
        calls += 1
    assert calls == -(-5 // members)
    assert Handing(succession, tuple(registered)).call(block_gas).purpose is Step.HANDOVER


def test_the_gas_that_is_allowed_is_enough() -> None:
    """With members and feeds that are all new to the chain, which costs the most."""
    chain = EvmChain()
    oracle = chain.deploy(
        epochs.encode_deploy(
            name="test", configuration_hash=FIRST.configuration.hash, max_future_ms=3_600_000
        )
    )
    for calldata in (
        *epochs.encode_register(FIRST.configuration.members, FIRST.proofs),
        epochs.encode_open(FIRST.configuration, FIRST.table),
    ):
        assert chain.transact(oracle, calldata, gas=2**24).succeeded
    pairs = ("BTC", "ETH", *(f"A{number}" for number in range(38)))
    large = Committee(1, range(50, 70), pairs, FIRST)
    succession = large.succession(FIRST)
    for registered in ([False] * 20, [True] * 20):
        call = Handing(succession, tuple(registered)).call(30_000_000)
        receipt = chain.transact(oracle, call.calldata, gas=call.gas)
        assert receipt.succeeded
        assert receipt.gas_used > call.gas // 2
    assert client.decode_integer(chain.call(oracle, client.encode_getter("epoch"))) == 1
