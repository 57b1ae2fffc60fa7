"""The client for those who build on an Oracle, over real JSON-RPC and a node's real JSON."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from aiohttp import web
from blspy import G2Element

from aggregation.status import Status
from contracts import errors
from contracts.client import Certificate, Reason, StoredPlace
from contracts.node_api import CertifiedReport, NodeApi, NodeRefused
from contracts.oracle_client import Oracle, deploy
from contracts.rpc import HttpRpc, RpcUnreachable, web3_rpc
from contracts.transactions import NotMined, Sender
from node.api.proofs import proof_document
from node.report import Report, answers_of, report_to_json
from testnet.chain.evm import EvmChain
from testnet.chain.server import serve

AGE = {"max_age_s": 60, "max_confidence_ppm": 5_000}
FEEDS = ("BTC/USD", "A1/USD", "A2/USD", "A3/USD", "A4/USD")


@dataclass
class Net:
    """A chain with a network's Oracle, and reports as its nodes would serve them."""

    rpc: HttpRpc
    url: str
    oracle: Oracle
    committee: Any
    kit: Any
    now_ms: int

    def report(self, view: int, price: int = 1000, **changes: Any) -> CertifiedReport:
        answer = self.kit.answer
        lanes = [answer(price + i, **changes) for i in range(len(FEEDS))]
        words = (self.kit.word_of(*lanes[:4]), self.kit.word_of(*lanes[4:]))
        signed = self.committee.report(words, self.now_ms + view, view)
        return CertifiedReport(self.committee.network, signed.certificate, words, FEEDS)


def run(kit: Any, scenario: Callable[[Net], Awaitable[None]]) -> None:
    async def main() -> None:
        now_ms = int(time.time() * 1000)
        chain = EvmChain()
        committee = kit.Committee(table=kit.feed_table(5), valid_until_ms=now_ms + 86_400_000)
        async with serve(chain, interval_seconds=0) as server, HttpRpc(server.rpc_url) as rpc:

            async def mine() -> None:
                while True:
                    await asyncio.sleep(0.03)
                    if len(server.producer.pool):  # Block times run ahead of the clock.
                        await server.producer.mine()

            miner = asyncio.create_task(mine())
            account = account_of(chain, 0)
            try:
                address = await deploy(
                    Sender(rpc, account_of(chain, 1)),
                    name=committee.name,
                    configuration=committee.configuration,
                    feed_table=committee.table,
                    proofs=committee.proofs,
                    max_future_ms=3_600_000,
                )
                oracle = Oracle(rpc, address, account=account)
                await scenario(Net(rpc, server.rpc_url, oracle, committee, kit, now_ms))
            finally:
                miner.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await miner

    asyncio.run(main())


def account_of(chain: EvmChain, index: int) -> Any:
    from eth_account import Account

    return Account.from_key(chain.accounts[index].private_key)


def test_what_is_pushed_is_read(kit: Any) -> None:
    async def scenario(net: Net) -> None:
        oracle = net.oracle
        assert await oracle.network() == net.committee.network
        assert (await oracle.committee()).quorum == 3
        assert [f"{feed.base}/{feed.quote}" for feed in await oracle.feeds()] == list(FEEDS)
        with pytest.raises(errors.Unavailable):
            await oracle.read("BTC/USD", **AGE)
        done = await oracle.push(net.report(7))
        assert done.stored
        assert done.receipt is not None
        assert await oracle.stored() == StoredPlace(0, 7, net.now_ms + 7)
        price = await oracle.read("A1/USD", **AGE)
        assert (price.feed, price.price, price.decimals) == ("A1/USD", 1001, 8)
        assert price.decimal == Decimal("0.00001001")
        assert (await oracle.read(4, **AGE)).price == 1004
        reason, answer = await oracle.try_read(0, **AGE)
        assert (reason, answer.status, answer.confidence_ppm) == (Reason.NONE, Status.LIVE, 100)
        # What is not newer costs nothing.
        again = await oracle.push(net.report(6))
        assert (again.stored, again.receipt) == (False, None)
        with pytest.raises(errors.Unavailable):
            await oracle.read("BTC/USD", **AGE, block=done.receipt.block - 1)

    run(kit, scenario)


def test_each_way_in(kit: Any) -> None:
    async def scenario(net: Net) -> None:
        oracle = net.oracle
        posted = net.report(1, 2000)
        with pytest.raises(errors.NotProvable, match="post the report first"):
            await oracle.prove(posted, "A2/USD")
        assert (await oracle.post(posted)).stored
        held = await oracle.posted(posted.observed_at_ms)
        assert held is not None
        assert held.root_prefix == posted.certificate.header.feed_root[:24]
        assert await oracle.posted(posted.observed_at_ms + 17) is None
        assert (await oracle.prove(posted, "A2/USD")).stored
        assert not (await oracle.prove(posted, "A3/USD")).stored  # Stored with its neighbour.
        assert (await oracle.read("A3/USD", **AGE)).price == 2003
        assert (await oracle.update(net.report(2, 3000), "BTC/USD")).stored
        assert (await oracle.latest("BTC/USD")).price == 3000
        assert (await oracle.latest("A2/USD")).price == 2002
        assert (await oracle.update(net.report(3, 4000))).stored
        assert [(await oracle.latest(feed)).price for feed in FEEDS] == list(range(4000, 4005))
        seen = await oracle.peek(net.report(4, 5000), "A4/USD", **AGE)
        assert [price.price for price in seen] == [5004]
        assert (await oracle.latest("A4/USD")).price == 4004
        done, prices = await oracle.use(net.report(4, 5000), "A4/USD", "BTC/USD", **AGE)
        assert done.stored
        assert [price.price for price in prices] == [5004, 5000]
        assert (await oracle.latest("A4/USD")).price == 5004

    run(kit, scenario)


def test_refusals_say_what_to_do_and_cost_nothing(kit: Any) -> None:
    async def scenario(net: Net) -> None:
        oracle, good = net.oracle, net.report(5)
        forged = good.certificate.signature[:-96] + bytes(G2Element.generator())[:0] + bytes(96)
        with pytest.raises(errors.ReportRefused):
            await oracle.push(_signed(good, forged))
        other = net.report(6)
        with pytest.raises(errors.ReportRefused, match="BadSignature") as refused:
            await oracle.push(_signed(good, other.certificate.signature))
        assert refused.value.error is not None
        assert refused.value.error.name == "BadSignature"
        with pytest.raises(errors.ReportRefused, match="another network"):
            await oracle.push(replace(good, network=bytes(32)))
        with pytest.raises(ValueError, match="it has BTC/USD, A1/USD"):
            await oracle.read("DOGE/USD", **AGE)
        with pytest.raises(ValueError, match="has no feed 5"):
            await oracle.update(good, 5)
        assert (await oracle.push(net.report(8, confidence=0xFFF))).stored
        with pytest.raises(errors.Uncertain):
            await oracle.read(0, **AGE)
        assert (await oracle.push(net.report(9, status=4))).stored
        with pytest.raises(errors.Halted) as halted:
            await oracle.read(1, **AGE)
        assert halted.value.feed == 1
        assert (await oracle.push(net.report(10))).stored
        await net.rpc("evm_mine", [])
        with pytest.raises(errors.Stale) as stale:
            await oracle.read(0, max_age_s=0, max_confidence_ppm=10**6)
        assert stale.value.age_ms > 0
        with pytest.raises(errors.EpochRefused):
            await _again(net)
        nobody = Oracle(net.rpc, b"\x05" * 20)
        with pytest.raises(errors.OracleError, match="there is no Oracle at 0x0505"):
            await nobody.network()
        with pytest.raises(ValueError, match="account="):
            await Oracle(net.rpc, oracle.address).push(net.report(11))

    run(kit, scenario)


def _signed(report: CertifiedReport, signature: bytes) -> CertifiedReport:
    certificate = report.certificate
    return replace(
        report,
        certificate=Certificate(
            certificate.epoch, certificate.header, certificate.signers, signature
        ),
    )


async def _again(net: Net) -> None:
    from contracts.epochs import encode_open

    await net.oracle.call(encode_open(net.committee.configuration, net.committee.table))


def test_through_web3_too(kit: Any) -> None:
    async def scenario(net: Net) -> None:
        from web3 import AsyncHTTPProvider, AsyncWeb3

        web3 = AsyncWeb3(AsyncHTTPProvider(net.url))
        assert (await net.oracle.push(net.report(1))).stored
        oracle = Oracle(web3_rpc(web3), "0x" + net.oracle.address.hex().upper())
        assert (await oracle.read("BTC/USD", **AGE)).price == 1000
        await web3.provider.disconnect()

    run(kit, scenario)


def test_a_transaction_that_no_block_takes_is_told(kit: Any) -> None:
    async def scenario(net: Net) -> None:
        async def deaf(method: str, params: list[Any]) -> Any:
            if method == "eth_getTransactionReceipt":
                return None
            return await net.rpc(method, params)

        account = net.oracle._transactions._account
        oracle = Oracle(deaf, net.oracle.address, account=account, timeout_s=0.5)
        with pytest.raises(NotMined) as told:
            await oracle.push(net.report(1))
        assert told.value.transaction.startswith("0x")

    run(kit, scenario)


@contextlib.asynccontextmanager
async def node_serving(document: Any, status: int = 200) -> AsyncIterator[NodeApi]:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(document, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        async with NodeApi(f"http://127.0.0.1:{port}/") as api:
            yield api
    finally:
        await runner.cleanup()


def document_of(committee: Any, kit: Any) -> tuple[CertifiedReport, dict[str, Any]]:
    """Return a report, and the JSON that a node makes of it."""
    signed = committee.report(observed_at_ms=kit.NOW_MS)
    from blspy import PopSchemeMPL

    shares = [PopSchemeMPL.sign(key, signed.header.id(committee.domain)) for key in committee.keys]
    names = [(feed.pair, feed.decimals) for feed in committee.table.feeds]
    report = Report(
        network=committee.network,
        epoch=0,
        header=signed.header,
        id=signed.header.id(committee.domain),
        words=signed.words,
        bitmap=signed.bitmap,
        signature=bytes(PopSchemeMPL.aggregate(shares)),
        answers=answers_of(signed.words, names),
    )
    expected = CertifiedReport(
        committee.network, signed.certificate, signed.words, tuple(name for name, _ in names)
    )
    return expected, report_to_json(report)


def test_a_report_comes_from_a_node_as_its_members_signed_it(committee: Any, kit: Any) -> None:
    expected, document = document_of(committee, kit)

    async def main() -> None:
        async with node_serving(document) as node:
            for found in (await node.latest(), await node.at_view(1), await node.at_time(5)):
                assert found == expected
        assert [answer.price for answer in expected.answers] == [1000, 1001, 1002, 1003]

    asyncio.run(main())


@pytest.mark.parametrize(
    "change",
    [
        {"words": ["0x" + 64 * "1"]},
        {"words": []},
        {"words": 5},
        {"header": None},
        {"epoch": "x"},
        {"signature": "0x" + 192 * "f"},
        {"signature": "0x00"},
        {"bitmap": None},
        {"answers": []},
        {"network": "didyma"},
    ],
)
def test_a_report_that_is_not_whole_is_refused(
    committee: Any, kit: Any, change: dict[str, Any]
) -> None:
    _, document = document_of(committee, kit)

    async def main() -> None:
        async with node_serving({**document, **change}) as node:
            with pytest.raises(NodeRefused):
                await node.latest()

    asyncio.run(main())


def test_a_node_without_the_report_is_told_with_its_own_words() -> None:
    async def main() -> None:
        error = {"code": "no_such_report", "message": "it is gone", "remedy": "ask another"}
        async with node_serving({"error": error}, 404) as node:
            with pytest.raises(NodeRefused, match="404 it is gone: ask another"):
                await node.at_view(3)
        async with NodeApi("http://127.0.0.1:9") as nobody:
            with pytest.raises(NodeRefused, match="public API"):
                await nobody.latest()
        async with HttpRpc("http://127.0.0.1:9/secret") as dead:
            with pytest.raises(RpcUnreachable) as told:
                await dead("eth_chainId", [])
            assert "secret" not in str(told.value)

    asyncio.run(main())


def test_the_calldata_that_a_node_gives_work_on_the_chain(
    oracle: Any, committee: Any, kit: Any
) -> None:
    _, document = document_of(committee, kit)
    proof = msgspec.json.decode(proof_document(msgspec.json.encode(document), "A1/USD,A3/USD"))
    calldata = {
        name: [bytes.fromhex(text[2:]) for text in ([given] if isinstance(given, str) else given)]
        for name, given in proof["calldata"].items()
    }
    for name in ("post", "prove", "push"):
        for data in calldata[name]:
            receipt = oracle.send(data)
            assert receipt.succeeded
            assert int.from_bytes(receipt.output[:32], "big") == 1, name
    assert [oracle.latest(feed).price for feed in (1, 3)] == [1001, 1003]
    other = kit.deploy(committee)
    receipt = other.send(calldata["update"][0])
    assert int.from_bytes(receipt.output, "big") == 2
    assert [other.latest(feed).price for feed in range(4)] == [1000, 1001, 1002, 1003]


@pytest.mark.parametrize(
    "answer", [None, 5, "0x", "0x12", "0xzz", "0x" + 64 * "f", "0x" + 640 * "0f"]
)
def test_a_server_that_answers_nonsense_is_told(answer: Any) -> None:
    async def lying(method: str, params: list[Any]) -> Any:
        return answer

    async def main() -> None:
        oracle = Oracle(lying, b"\x05" * 20, account=b"\x06" * 20)
        with pytest.raises((errors.OracleError, RpcUnreachable)):
            await oracle.read("BTC/USD", **AGE)
        with pytest.raises((errors.OracleError, RpcUnreachable)):
            await oracle.feeds()
        with pytest.raises((errors.OracleError, RpcUnreachable)):
            await Sender(lying, b"\x06" * 20).send(None, b"\x01")

    asyncio.run(main())
