"""`didyma oracle`, the example and the instructions, against a chain and a node's answers."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from eth_account import Account

from contracts.node_api import CertifiedReport
from testnet.chain.evm import EvmChain
from testnet.chain.server import serve
from testnet.developer import PRIVATE_KEY, developer_address, instructions
from testnet.oracle_kit import TestCommittee

EXAMPLE = Path(__file__).parents[2] / "docs" / "oracle_example.py"
CLI = (sys.executable, "-P", "-m", "node.cli", "oracle")
BTC = 65_000 * 10**8
PRICES = {"BTC/USD": BTC, "ETH/USD": 3_000 * 10**8}


@dataclass
class World:
    """A served chain with an Oracle, and a node that has a new report whenever it is asked."""

    committee: TestCommittee
    chain: EvmChain
    rpc_url: str
    oracle: str
    node_url: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        return "--rpc", self.rpc_url, "--oracle", self.oracle


def document_of(report: CertifiedReport) -> dict[str, Any]:
    """Return a report in the form that nodes serve, as far as the client reads it."""
    header, signature = report.certificate.header, report.certificate.signature
    return {
        "network": "0x" + report.network.hex(),
        "epoch": 0,
        "header": {
            "view": header.view,
            "observed_at_ms": header.observed_at_ms,
            "feed_root": "0x" + header.feed_root.hex(),
            "link": "0x" + header.link.hex(),
        },
        "words": [f"0x{word:064x}" for word in report.words],
        "bitmap": hex(report.certificate.signers),
        "signature": "0x" + compressed(signature).hex(),
        "answers": [{"feed": feed} for feed in report.feeds],
    }


def compressed(signature: bytes) -> bytes:
    """Return a G2 point in its 96 bytes: imaginary part first, the flag of y's sign above."""
    x0, x1, y0, y1 = (int.from_bytes(signature[i : i + 48], "big") for i in (0, 48, 96, 144))
    prime = int(
        "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624"
        "1eabfffeb153ffffb9feffffffffaaab",
        16,
    )
    greater = (y1 or y0) > (prime - 1) // 2
    return ((x1 | 1 << 383 | greater << 381) << 384 | x0).to_bytes(96, "big")


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    chain = EvmChain(funded={developer_address(): 10**21})
    committee = TestCommittee(founded_ms=time.time_ns() // 1_000_000)
    creation, calls = committee.deployment()
    oracle = chain.deploy(creation)
    for call in calls:
        assert chain.transact(oracle, call, gas=2**24).succeeded
    async with serve(chain, interval_seconds=0) as server:

        async def mine() -> None:
            while True:
                await asyncio.sleep(0.03)
                if len(server.producer.pool):
                    await server.producer.mine()

        async def latest(_request: web.Request) -> web.Response:
            report = committee.report(PRICES, time.time_ns() // 1_000_000)
            return web.json_response(document_of(report))

        app = web.Application()
        app.router.add_get("/v1/reports/latest", latest)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        miner = asyncio.create_task(mine())
        try:
            yield World(
                committee,
                chain,
                server.rpc_url,
                "0x" + oracle.hex(),
                f"http://127.0.0.1:{port}",
            )
        finally:
            miner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await miner
            await runner.cleanup()


async def ran(*command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.checkout
def test_the_example_uses_every_path_and_the_command_reads_what_it_stored() -> None:
    async def main() -> None:
        async with world() as there:
            code, out, err = await ran(*CLI, "read", "BTC/USD", *there.places)
            assert (code, out) == (1, "")
            assert "Unavailable(feed=0" in err
            code, out, err = await ran(
                *(sys.executable, str(EXAMPLE), *there.places, "--node", there.node_url),
                *("--key", "0x" + PRIVATE_KEY.hex()),
            )
            assert code == 0, err
            said = [line.partition(":")[0] for line in out.splitlines()]
            assert said == [
                *(f"{pair} has no price fit for use" for pair, _ in there.committee.feeds),
                "the newest report says BTC/USD 65000.00000000",
                *("push", "post", "prove", "update", "use, at 65000.00000000"),
            ]
            assert out.count("stored, ") == 5
            places = (*there.places, "--max-age", "300")
            assert await ran(*CLI, "read", "BTC/USD", *places) == (
                0,
                "BTC/USD 65000.00000000\n",
                "",
            )
            code, out, _ = await ran(*CLI, "feeds", *there.places, "--json")
            rows = json.loads(out)["feeds"]
            assert [(row["feed"], row["price"], row["status"]) for row in rows] == [
                ("BTC/USD", "65000.00000000", "live"),
                ("ETH/USD", "3000.00000000", "live"),
                ("SOL/USD", None, "unavailable"),
                ("USDC/USD", None, "unavailable"),
            ]

    asyncio.run(main())


def test_the_command_tells_what_is_wrong() -> None:
    async def main() -> None:
        async with world() as there:
            nowhere = ("--rpc", "http://127.0.0.1:9", "--oracle", there.oracle)
            empty = ("--rpc", there.rpc_url, "--oracle", "0x" + 40 * "1")
            for arguments, exit_code, said in (
                (("feeds", *nowhere), 4, "no answer"),
                (("feeds", *empty), 1, "there is no Oracle at 0x1111"),
                (("read", "DOGE/USD", *there.places), 1, "it has BTC/USD, ETH/USD"),
                (("feeds", "--rpc", there.rpc_url, "--oracle", "0x12"), 1, "20 bytes"),
                (("read", "0", *there.places, "--max-age", "-1"), 2, "max-age"),
            ):
                code, _, err = await ran(*CLI, *arguments)
                assert (code, said in err) == (exit_code, True), err

    asyncio.run(main())


def test_the_testnet_tells_where_everything_is() -> None:
    assert Account.from_key(PRIVATE_KEY).address.lower() == "0x" + developer_address().hex()
    table = TestCommittee().table
    node = SimpleNamespace(name="alice", ports=SimpleNamespace(api=1234))
    snapshot: Any = SimpleNamespace(
        chain=SimpleNamespace(oracle="0xaa"),
        deployment=SimpleNamespace(members=[node], network=SimpleNamespace(table=table)),
        rpc_url="http://127.0.0.1:8545",
        directory=Path("/net"),
    )
    told = instructions(snapshot)
    assert "didyma oracle read BTC/USD --rpc http://127.0.0.1:8545 --oracle 0xaa" in told[4]
    assert any("http://127.0.0.1:1234/v1/reports/latest/proof?feeds=BTC/USD" in t for t in told)
    snapshot.rpc_url = None
    assert instructions(snapshot) == []
