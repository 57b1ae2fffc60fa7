"""The publisher against a real Oracle on the embedded chain, over real JSON-RPC."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import aiohttp
import pytest
from aiohttp import web
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
    network_id,
    registration_digest,
)
from consensus.messages import Header
from contracts import client, epochs
from contracts.points import decompress_g1
from node.publisher import ChainSettings, ChainStatus, EpochTerms, Publisher
from node.publisher.stages import transmitter_order
from node.report import Report, answers_of
from testnet.chain.evm import EvmChain, decode_transaction
from testnet.chain.server import ChainServer, serve

CHAIN_ID = 77
MEMBERS = 4
PATIENCE_S = 30


@dataclass(frozen=True)
class Founders:
    """A committee of one: its certificates are as good as any, and its Oracle deploys fast."""

    def feed(self, base: str) -> FeedSpec:
        sources = tuple(
            SourceSpec(v, base, "USD", 10, 5_000) for v in ("coinbase_exchange", "kraken")
        )
        return FeedSpec(base, "USD", 7, 1, 2, 5_000, 1_000, 30_000, sources)

    @cached_property
    def table(self) -> FeedTable:
        return FeedTable((self.feed("BTC"), self.feed("ETH")))

    @cached_property
    def key(self) -> Any:
        return AugSchemeMPL.key_gen(b"\x07" * 32)

    @cached_property
    def configuration(self) -> Configuration:
        compressed = bytes(self.key.get_g1())
        member = Member(decompress_g1(compressed), compressed, b"\x01" * 32, b"\x01" * 20)
        valid_until_ms = int(time.time() * 1000) + 86_400_000
        return Configuration((member,), self.table.digest(), Timing(), valid_until_ms)

    @cached_property
    def network(self) -> bytes:
        return network_id("test", self.configuration.hash)

    @cached_property
    def domain(self) -> bytes:
        return EpochContext(self.network, 0, self.configuration, bytes(32), 0).domain

    @cached_property
    def creation_code(self) -> bytes:
        return epochs.encode_deploy(
            name="test", configuration_hash=self.configuration.hash, max_future_ms=3_600_000
        )

    @cached_property
    def openings(self) -> list[bytes]:
        member = self.configuration.members[0]
        registration = registration_digest(self.network, member.operator, member.ed25519_key)
        proof = epochs.MemberProof(
            bytes(PopSchemeMPL.pop_prove(self.key)),
            bytes(PopSchemeMPL.sign(self.key, registration)),
        )
        return [
            *epochs.encode_register([member], [proof]),
            epochs.encode_open(self.configuration, self.table),
        ]

    def report(self, view: int, at_ms: int, btc: int, eth: int = 3_000_0000000) -> Report:
        prices = (btc, eth)
        words = pack_words([encode_answer(price, 1, Status.LIVE) for price in prices])
        header = Header(view, at_ms, feed_root(words), b"\x77" * 32)
        identity = header.id(self.domain)
        return Report(
            network=self.network,
            epoch=0,
            header=header,
            id=identity,
            words=words,
            bitmap=1,
            signature=bytes(PopSchemeMPL.sign(self.key, identity)),
            answers=answers_of(words, [(feed.pair, 7) for feed in self.table.feeds]),
        )


FOUNDERS = Founders()
BTC = 60_000_0000000


def terms_of(me: int | None) -> EpochTerms:
    return EpochTerms(0, FOUNDERS.table.feeds, MEMBERS, me)


@dataclass
class World:
    """A served chain with an Oracle, of which blocks are made as fast as they come, or not."""

    server: ChainServer
    oracle: bytes
    mining: bool = True
    now_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def chain(self) -> EvmChain:
        return self.server.chain

    def stored(self) -> client.StoredPlace:
        data = self.chain.call(self.oracle, client.encode_getter("stored"))
        return client.decode_stored(data)

    def settings(self, **changes: Any) -> ChainSettings:
        settings = ChainSettings(
            name="test",
            chain_id=CHAIN_ID,
            rpc_urls=(self.server.rpc_url,),
            oracle=self.oracle,
            stage_ms=100,
            poll_ms=60,
            pending_poll_ms=30,
            stuck_ms=200,
        )
        return replace(settings, **changes)

    def order(self, stored_view: int = 0) -> tuple[int, ...]:
        network = FOUNDERS.network
        return transmitter_order(network, CHAIN_ID, self.oracle, 0, stored_view, MEMBERS)

    @contextlib.asynccontextmanager
    async def publisher(
        self, *, me: int | None = None, account: int = 0, **changes: Any
    ) -> AsyncIterator[Publisher]:
        publisher = Publisher(
            [self.settings(**changes)],
            network=FOUNDERS.network,
            terms=terms_of(self.order()[0] if me is None else me),
            private_key=self.chain.accounts[account].private_key,
        )
        task = asyncio.create_task(publisher.run())
        try:
            yield publisher
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def looks(self, publisher: Publisher, count: int = 8) -> None:
        """Let a publisher look at some more blocks."""
        for _ in range(count):
            head = status_of(publisher).head or 0
            await until(lambda head=head: (status_of(publisher).head or 0) > head)


def status_of(publisher: Publisher) -> ChainStatus:
    (status,) = publisher.status()
    return status


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        chain = EvmChain(chain_id=CHAIN_ID)
        oracle = chain.deploy(FOUNDERS.creation_code, sender=chain.accounts[9])
        for opening in FOUNDERS.openings:
            assert chain.transact(oracle, opening, sender=chain.accounts[9]).succeeded
        async with serve(chain, interval_seconds=0) as server:
            world = World(server, oracle)

            async def mine() -> None:
                while True:
                    await asyncio.sleep(0.04)
                    if world.mining:
                        await server.producer.mine()

            miner = asyncio.create_task(mine())
            try:
                await scenario(world)
            finally:
                miner.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await miner

    asyncio.run(main())


def test_the_thresholds_of_the_agreed_volatility_are_those_that_count() -> None:
    async def scenario(world: World) -> None:
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: world.stored().view == 1)
            moved = FOUNDERS.report(2, world.now_ms + 250, BTC + BTC // 2_000)
            publisher.submit(moved, [501] * FOUNDERS.table.count)
            await world.looks(publisher)
            assert world.stored().view == 1
            again = FOUNDERS.report(3, world.now_ms + 500, BTC + BTC // 2_000)
            publisher.submit(again, [499] * FOUNDERS.table.count)
            await until(lambda: world.stored().view == 3)

    run(scenario)


def test_pushes_for_status_deviation_and_heartbeat_and_for_nothing_else() -> None:
    async def scenario(world: World) -> None:
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: world.stored().view == 1)
            publisher.submit(FOUNDERS.report(2, world.now_ms + 250, BTC + BTC // 2_000))
            await world.looks(publisher)
            assert world.chain.nonce(world.chain.accounts[0].address) == 1
            publisher.submit(FOUNDERS.report(3, world.now_ms + 500, BTC + BTC // 900))
            await until(lambda: world.stored().view == 3)
            publisher.submit(FOUNDERS.report(4, world.now_ms + 28_400, BTC + BTC // 900))
            await world.looks(publisher)
            assert world.stored().view == 3
            publisher.submit(FOUNDERS.report(5, world.now_ms + 28_600, BTC + BTC // 900))
            await until(lambda: status_of(publisher).pushes_total == 3)
            await until(lambda: status_of(publisher).stored_view == 5)
            status = status_of(publisher)
            assert world.stored().view == status.stored_view == 5
            assert status.pushes == {"status": 1, "deviation": 1, "heartbeat": 1}
            assert status.state == "publishing"
            assert not status.errors
            assert status.cost_wei > 0
            assert 150_000 < (status.last_push_gas_used or 0) < 300_000

    run(scenario)


def test_the_second_stage_takes_over_when_the_first_transmitter_is_dead() -> None:
    async def scenario(world: World) -> None:
        async with world.publisher(me=world.order()[1]) as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: status_of(publisher).pushes_total == 1)
            assert world.stored().view == 1

    run(scenario)


def test_a_later_stage_sends_nothing_when_an_earlier_one_has_pushed() -> None:
    async def scenario(world: World) -> None:
        first, last = world.order()[0], world.order()[-1]
        async with world.publisher(me=first) as early:
            async with world.publisher(me=last, account=1, stage_ms=1_000) as late:
                for publisher in (late, early):
                    publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
                await until(lambda: status_of(early).pushes_total == 1)
                await until(lambda: status_of(late).stored_view == 1)
                await world.looks(late)
                assert world.chain.nonce(world.chain.accounts[1].address) == 0

    run(scenario)


def test_two_publishers_that_race_do_not_hurt_each_other() -> None:
    async def scenario(world: World) -> None:
        world.mining = False
        first = world.order()[0]
        slow = {"stuck_ms": 60_000}
        async with world.publisher(me=first, account=0, **slow) as one:
            async with world.publisher(me=first, account=1, **slow) as other:
                for publisher in (one, other):
                    publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
                await until(lambda: len(world.server.producer.pool) == 2)
                world.mining = True
                pair = (one, other)
                await until(lambda: all(status_of(p).gas_used for p in pair))
                assert sorted(status_of(p).pushes_total for p in pair) == [0, 1]
                assert sorted(status_of(p).superseded for p in pair) == [0, 1]
                assert not any(status_of(p).reverted or status_of(p).errors for p in pair)
                assert min(status_of(p).gas_used for p in pair) < 60_000

    run(scenario)


def test_a_stuck_transaction_is_replaced_at_the_same_nonce() -> None:
    async def scenario(world: World) -> None:
        world.mining = False
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: status_of(publisher).replacements >= 2)
            assert len(world.server.producer.pool) == 1
            publisher.submit(FOUNDERS.report(2, world.now_ms + 250, BTC * 2))
            seen = status_of(publisher).replacements
            await until(lambda: status_of(publisher).replacements > seen)
            world.mining = True
            await until(lambda: status_of(publisher).pushes_total == 1)
            assert world.stored().view == 2
            assert world.chain.nonce(world.chain.accounts[0].address) == 1

    run(scenario)


def test_the_fee_cap_is_never_exceeded() -> None:
    async def scenario(world: World) -> None:
        world.mining = False
        cap = 4 * 10**9
        async with world.publisher(max_fee_wei=cap) as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: "fee cap" in status_of(publisher).last_error)
            (transaction,) = world.server.producer.pool.select(0, world.chain.nonce)
            assert transaction.max_fee_per_gas <= cap
            world.mining = True
            await until(lambda: world.stored().view == 1)

    run(scenario)


def test_an_rpc_server_that_comes_back_is_used_again() -> None:
    async def scenario(world: World) -> None:
        port = int(world.server.rpc_url.rsplit(":", 1)[1])
        world.mining = False
        async with world.publisher() as publisher:
            await until(lambda: status_of(publisher).state == "publishing")
            await world.server.stop_listening()
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: status_of(publisher).state == "unreachable")
            assert status_of(publisher).errors
            async with serve(world.chain, port=port, interval_seconds=0) as again:
                world.server = again
                await until(lambda: len(again.producer.pool) == 1)
                await again.producer.mine()
                await until(lambda: status_of(publisher).pushes_total == 1)
                assert status_of(publisher).state == "publishing"

    run(scenario)


def test_a_reorganisation_that_takes_a_push_back_is_survived() -> None:
    async def scenario(world: World) -> None:
        port = int(world.server.rpc_url.rsplit(":", 1)[1])
        other = world.chain.branch()
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: status_of(publisher).pushes_total == 1)
            assert world.stored().view == 1
            # The other branch has become longer; neither the push nor its nonce are on it.
            while other.head.number <= world.chain.head.number:
                other.mine()
            await world.server.stop_listening()
            async with serve(other, port=port, interval_seconds=0) as again:
                world.server = again
                await until(lambda: len(again.producer.pool) == 1)
                await again.producer.mine()
                await until(lambda: status_of(publisher).pushes_total == 2)
                assert world.stored().view == 1
                assert status_of(publisher).stored_view == 1
                publisher.submit(FOUNDERS.report(2, world.now_ms + 1, BTC * 2))
                await until(lambda: len(again.producer.pool) == 1)
                await again.producer.mine()
                await until(lambda: status_of(publisher).pushes_total == 3)
                assert world.stored().view == 2

    run(scenario)


def test_a_server_that_claims_that_all_is_stored_is_found_out() -> None:
    """It answers for a chain of its own, on which our report was pushed."""

    async def scenario(world: World) -> None:
        liars = world.chain.branch()
        report = FOUNDERS.report(1, world.now_ms, BTC)
        certificate = client.certificate_of(
            report.epoch, report.header, report.bitmap, report.signature
        )
        push = client.encode_push(certificate, report.words)
        assert liars.transact(world.oracle, push, sender=liars.accounts[5]).succeeded
        async with serve(liars, interval_seconds=0) as lying:
            urls = (lying.rpc_url, world.server.rpc_url)
            async with world.publisher(rpc_urls=urls, compare_ms=500) as publisher:
                publisher.submit(report)
                await until(lambda: world.stored().view == 1)
                assert "one of them lies" in status_of(publisher).last_error
                assert status_of(publisher).errors >= 1

    run(scenario)


def test_servers_that_agree_are_both_left_as_they_are() -> None:
    async def scenario(world: World) -> None:
        url = world.server.rpc_url
        urls = (url, url.replace("127.0.0.1", "localhost"))
        async with world.publisher(rpc_urls=urls, compare_ms=50) as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: status_of(publisher).pushes_total == 1)
            await world.looks(publisher, 12)
            assert status_of(publisher).errors == 0
            assert status_of(publisher).endpoint == url.rstrip("/")

    run(scenario)


def test_other_rpc_servers_and_fees_take_force_while_it_publishes() -> None:
    async def scenario(world: World) -> None:
        async with hostile(b"{}") as lying:
            async with world.publisher(rpc_urls=(lying,)) as publisher:
                publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
                await until(lambda: status_of(publisher).state in ("unreachable", "refused"))
                publisher.change([world.settings(name="another")])
                publisher.change([world.settings(max_fee_wei=10**12)])
                await until(lambda: status_of(publisher).pushes_total == 1)
                assert world.stored().view == 1
                assert status_of(publisher).endpoint == world.server.rpc_url.rstrip("/")
                world.mining = False
                publisher.change([world.settings(max_fee_wei=1)])
                publisher.submit(FOUNDERS.report(2, world.now_ms + 1, BTC * 2))
                await until(lambda: "fee cap of 1 wei" in status_of(publisher).last_error)

    run(scenario)


@contextlib.asynccontextmanager
async def hostile(body: bytes, status: int = 200) -> AsyncIterator[str]:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json")

    application = web.Application()
    application.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(application, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v3/SECRET"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"nonsense", 200),
        (b"[]", 200),
        (b"{}", 200),
        (b'[{"id":0},{"id":1},{"id":2},{"id":3},{"id":4},{"id":5}]', 200),
        (b"too many requests", 429),
        (b"[" + b" " * (5 << 20) + b"]", 200),
    ],
    ids=["text", "empty", "object", "results-lack", "limited", "huge"],
)
def test_a_failing_endpoint_is_left_for_the_next(body: bytes, status: int) -> None:
    async def scenario(world: World) -> None:
        async with hostile(body, status) as url:
            patient = {"rpc_urls": (url, world.server.rpc_url), "stuck_ms": 60_000}
            async with world.publisher(**patient) as publisher:
                publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
                await until(lambda: status_of(publisher).pushes_total == 1)
                assert status_of(publisher).endpoint == world.server.rpc_url
                assert status_of(publisher).errors == 1
                assert "SECRET" not in repr(publisher.status())

    run(scenario)


@contextlib.asynccontextmanager
async def proxy(url: str, on_send: Callable[[], web.Response]) -> AsyncIterator[str]:
    """A server that answers as the real one does, except to a transaction."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if b"eth_sendRawTransaction" in body:
            return on_send()
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
            return web.Response(body=await response.read(), content_type="application/json")

    application = web.Application()
    application.router.add_post("/", handle)
    runner = web.AppRunner(application, handle_signals=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_a_transaction_whose_sending_failed_goes_to_the_next_endpoint_as_it_is() -> None:
    async def scenario(world: World) -> None:
        async with proxy(world.server.rpc_url, lambda: web.Response(status=502)) as url:
            patient = {"rpc_urls": (url, world.server.rpc_url), "stuck_ms": 60_000}
            async with world.publisher(**patient) as publisher:
                publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
                await until(lambda: status_of(publisher).pushes_total == 1)
                assert status_of(publisher).replacements == 0
                assert "HTTP status 502" in status_of(publisher).last_error

    run(scenario)


def test_a_server_that_swallows_transactions_is_left_when_one_is_stuck() -> None:
    async def scenario(world: World) -> None:
        taken = b'[{"jsonrpc":"2.0","id":0,"result":"0x' + b"ab" * 32 + b'"}]'

        def swallow() -> web.Response:
            return web.Response(body=taken, content_type="application/json")

        async with proxy(world.server.rpc_url, swallow) as url:
            async with world.publisher(rpc_urls=(url, world.server.rpc_url)) as publisher:
                publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
                await until(lambda: status_of(publisher).pushes_total == 1)
                assert status_of(publisher).replacements >= 1
                assert world.chain.nonce(world.chain.accounts[0].address) == 1

    run(scenario)


def test_a_wrong_chain_or_contract_is_refused_with_the_reason() -> None:
    async def scenario(world: World) -> None:
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"chain_id": 1}, f"serves chain {CHAIN_ID}, not 1"),
            ({"oracle": b"\x99" * 20}, "there is no contract"),
        )
        for changes, says in cases:
            async with world.publisher(**changes) as publisher:
                publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
                await until(lambda p=publisher: status_of(p).state == "refused")
                assert says in status_of(publisher).reason
        assert world.stored().view == 0
        assert world.chain.nonce(world.chain.accounts[0].address) == 0

    run(scenario)


def test_older_and_replayed_reports_do_no_harm() -> None:
    async def scenario(world: World) -> None:
        async with world.publisher() as publisher:
            old, new = (
                FOUNDERS.report(1, world.now_ms, BTC),
                FOUNDERS.report(9, world.now_ms + 900, BTC * 2),
            )
            publisher.submit(new)
            publisher.submit(old)
            await until(lambda: status_of(publisher).pushes_total == 1)
            publisher.submit(old)
            publisher.submit(new)
            await world.looks(publisher)
            assert world.stored().view == 9
            assert world.chain.nonce(world.chain.accounts[0].address) == 1
        # A publisher that knows the old one only, as after a long time without the committee.
        async with world.publisher(me=world.order(9)[0], account=1) as behind:
            behind.submit(old)
            await until(lambda: status_of(behind).stored_view == 9)
            await world.looks(behind)
            assert world.chain.nonce(world.chain.accounts[1].address) == 0

    run(scenario)


def test_what_is_stored_is_read_from_the_chain_after_a_restart() -> None:
    async def scenario(world: World) -> None:
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: status_of(publisher).pushes_total == 1)
        async with world.publisher(me=world.order(1)[0]) as restarted:
            restarted.submit(FOUNDERS.report(2, world.now_ms + 250, BTC))
            await until(lambda: status_of(restarted).stored_view == 1)
            await world.looks(restarted)
            assert world.stored().view == 1
            restarted.submit(FOUNDERS.report(3, world.now_ms + 500, BTC * 2))
            await until(
                lambda: status_of(restarted).pushes == {"status": 0, "deviation": 1, "heartbeat": 0}
            )

    run(scenario)


def test_a_reverted_push_is_explained_and_stops_nothing() -> None:
    async def scenario(world: World) -> None:
        async with world.publisher() as publisher:
            genuine = FOUNDERS.report(1, world.now_ms, BTC)
            forged = replace(genuine, signature=FOUNDERS.report(2, world.now_ms, BTC).signature)
            publisher.submit(forged)
            await until(lambda: status_of(publisher).reverted == 1)
            assert "BadSignature" in status_of(publisher).last_error
            # The next try is simulated first, and costs nothing.
            await until(lambda: "would fail" in status_of(publisher).last_error)
            assert world.chain.nonce(world.chain.accounts[0].address) == 1
            publisher.submit(FOUNDERS.report(3, world.now_ms + 250, BTC))
            await until(lambda: status_of(publisher).pushes_total == 1)
            assert world.stored().view == 3

    run(scenario)


def test_a_dry_account_alarms_and_sends_nothing() -> None:
    async def scenario(world: World) -> None:
        publisher = Publisher(
            [world.settings()],
            network=FOUNDERS.network,
            terms=terms_of(world.order()[0]),
            private_key=b"\x55" * 32,
        )
        task = asyncio.create_task(publisher.run())
        publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
        await until(lambda: "fund it" in status_of(publisher).last_error)
        assert status_of(publisher).dry
        assert len(world.server.producer.pool) == 0
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    run(scenario)


def test_an_expired_report_is_not_sent() -> None:
    async def scenario(world: World) -> None:
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms - 600_000, BTC))
            await until(lambda: "too old" in status_of(publisher).reason)
            await world.looks(publisher)
            assert world.stored().view == 0

    run(scenario)


def test_reports_of_an_epoch_that_the_oracle_is_not_in_are_held() -> None:
    """The next epoch has more feeds and members, and its views begin again."""

    async def scenario(world: World) -> None:
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(5, world.now_ms - 50, BTC))
            await until(lambda: world.stored().view == 5)
            feeds = (*FOUNDERS.table.feeds, FOUNDERS.feed("SOL"))
            publisher.begin(EpochTerms(1, feeds, MEMBERS + 1, None))
            words = pack_words([encode_answer(9, 1, Status.LIVE) for _ in feeds])
            header = Header(1, world.now_ms, feed_root(words), b"\x77" * 32)
            later = replace(
                FOUNDERS.report(1, world.now_ms, BTC), epoch=1, header=header, words=words
            )
            publisher.submit(later)
            await until(lambda: "it must be handed over" in status_of(publisher).reason)
            # A late one of the old epoch does not come back either.
            publisher.submit(FOUNDERS.report(6, world.now_ms, 2 * BTC))
            await world.looks(publisher)
            assert world.stored().view == 5
            assert status_of(publisher).state == "publishing"
            assert status_of(publisher).errors == 0

    run(scenario)


def test_an_oracle_of_an_epoch_that_is_not_known_yet_is_waited_for() -> None:
    async def scenario(world: World) -> None:
        publisher = Publisher(
            [world.settings()],
            network=FOUNDERS.network,
            terms=EpochTerms(1, FOUNDERS.table.feeds, MEMBERS, 0),
            private_key=world.chain.accounts[0].private_key,
        )
        task = asyncio.create_task(publisher.run())
        await until(lambda: "does not know" in status_of(publisher).last_error)
        assert status_of(publisher).state == "refused"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    run(scenario)


def test_the_transaction_is_an_eip_1559_one_of_our_chain() -> None:
    async def scenario(world: World) -> None:
        world.mining = False
        async with world.publisher() as publisher:
            publisher.submit(FOUNDERS.report(1, world.now_ms, BTC))
            await until(lambda: len(world.server.producer.pool) == 1)
            (transaction,) = world.server.producer.pool.select(0, world.chain.nonce)
            again = decode_transaction(transaction.encode())
            assert again.type_id == 2
            assert again.chain_id == CHAIN_ID
            assert again.to == world.oracle
            assert "0x" + world.chain.accounts[0].address.hex() == status_of(publisher).account

    run(scenario)
