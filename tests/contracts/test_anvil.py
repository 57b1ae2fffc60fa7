"""The same on another EVM: anvil, whose precompiles are not ours (npm's @foundry-rs/anvil)."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from contracts import client, errors
from contracts.node_api import CertifiedReport
from contracts.oracle_client import Oracle, deploy
from contracts.rpc import HttpRpc
from contracts.transactions import Sender

MODULES = Path(__file__).parents[2] / "contracts" / "node_modules"
PACKAGED = MODULES / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"

pytestmark = pytest.mark.slow


class Anvil:
    """A JSON-RPC connection to a node whose first account pays."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def rpc(self, method: str, *parameters: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
        request = urllib.request.Request(
            self.url, body.encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def transact(self, to: bytes | None, data: bytes, gas: int = 8_000_000) -> dict[str, Any]:
        call = {"from": self.rpc("eth_accounts")[0], "data": "0x" + data.hex(), "gas": hex(gas)}
        if to is not None:
            call["to"] = "0x" + to.hex()
        transaction = self.rpc("eth_sendTransaction", call)
        for _ in range(600):
            receipt: dict[str, Any] | None = self.rpc("eth_getTransactionReceipt", transaction)
            if receipt is not None:
                return receipt
            time.sleep(0.05)
        raise TimeoutError

    def call(self, to: bytes, data: bytes) -> bytes:
        call = {"to": "0x" + to.hex(), "data": "0x" + data.hex()}
        return bytes.fromhex(self.rpc("eth_call", call, "latest")[2:])


@pytest.fixture(scope="module", params=["prague", "osaka", "cancun"])
def anvil(request: pytest.FixtureRequest, kit: Any) -> Iterator[tuple[str, Anvil]]:
    binary = os.environ.get("DIDYMA_ANVIL") or shutil.which("anvil") or str(PACKAGED)
    if not Path(binary).is_file():
        pytest.skip("anvil is not installed: `npm install @foundry-rs/anvil` in contracts/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            binary,
            "--port",
            str(port),
            "--hardfork",
            request.param,
            "--timestamp",
            str(kit.CHAIN_TIME),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        node = Anvil(port)
        for _ in range(600):
            try:
                node.rpc("eth_chainId")
                break
            except OSError:
                time.sleep(0.05)
        yield request.param, node
    finally:
        process.terminate()
        process.wait(30)


def test_every_path_on_anvil(anvil: tuple[str, Anvil], kit: Any) -> None:
    hardfork, node = anvil
    committee = kit.Committee(n=7)
    created = node.transact(None, committee.creation_code())
    assert created["status"] == "0x1"
    address = bytes.fromhex(created["contractAddress"][2:])
    (registering,) = committee.registrations()
    registered = node.transact(address, registering)
    if hardfork == "cancun":
        # O10: the precompiles came with prague.
        assert registered["status"] == "0x0"
        return
    assert registered["status"] == "0x1"
    assert node.transact(address, committee.opening)["status"] == "0x1"
    assert node.call(address, client.encode_getter("domain")) == committee.domain
    for step, signers in enumerate((range(7), range(7), range(2, 7), range(5))):
        report = reported(kit, committee, step, list(signers))
        receipt = node.transact(address, report.calldata)
        assert receipt["status"] == "0x1"
        print(f"{hardfork}, {7 - len(signers)} of 7 absent: {int(receipt['gasUsed'], 16):,} gas")
        (log,) = receipt["logs"]
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        event = client.decode_pushed(topics, bytes.fromhex(log["data"][2:]))
        assert event == client.Pushed(report.certificate.place)

    def latest(feed: int) -> client.StoredAnswer:
        return client.decode_latest(node.call(address, client.encode_latest(feed)))

    assert latest(2) == client.StoredAnswer(1032, 100, 1, kit.NOW_MS + 3)

    posted = reported(kit, committee, 4)
    assert node.transact(address, client.encode_post(posted.certificate))["status"] == "0x1"
    assert latest(2).price == 1032
    proof = client.encode_prove(posted.header.observed_at_ms, client.claim_of(2, posted.words))
    assert node.transact(address, proof)["status"] == "0x1"
    assert [latest(feed).price for feed in range(4)] == [1030, 1031, 1042, 1043]
    updated = reported(kit, committee, 5)
    assert node.transact(address, client.encode_update([updated.update(0)]))["status"] == "0x1"
    assert [latest(feed).price for feed in range(4)] == [1050, 1051, 1042, 1043]
    used = client.encode_use([reported(kit, committee, 6).update(0)], [0, 2], 10**6, 10_000)
    prices = client.decode_use(node.call(address, used))
    assert prices == [(1060, kit.NOW_MS + 6), (1042, kit.NOW_MS + 4)]

    before = node.call(address, client.encode_getter("stored"))
    replayed = node.transact(address, reported(kit, committee, 0).calldata)
    assert replayed["status"] == "0x1"
    assert replayed["logs"] == []
    newer = reported(kit, committee, 9, list(range(4)))
    assert node.transact(address, newer.calldata)["status"] == "0x0"
    good = reported(kit, committee, 9)
    bad = replace(good, signature=good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    refused = node.transact(address, bad.calldata)
    assert refused["status"] == "0x0"
    assert int(refused["gasUsed"], 16) <= 250_000
    assert node.call(address, client.encode_getter("stored")) == before


def test_the_client_on_anvil(anvil: tuple[str, Anvil], kit: Any) -> None:
    """With an account that the server has unlocked, and with one that signs here."""
    hardfork, node = anvil
    committee = kit.Committee(n=4)
    # Of anvil's own accounts, which everyone knows.
    key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    feeds = tuple(feed.pair for feed in committee.table.feeds)

    def report(step: int) -> CertifiedReport:
        signed = reported(kit, committee, step)
        return CertifiedReport(committee.network, signed.certificate, signed.words, feeds)

    async def main() -> None:
        async with HttpRpc(node.url) as rpc:
            unlocked = bytes.fromhex(node.rpc("eth_accounts")[1][2:])
            deploying = deploy(
                Sender(rpc, unlocked),
                name=committee.name,
                configuration=committee.configuration,
                feed_table=committee.table,
                proofs=committee.proofs,
                max_future_ms=kit.MAX_FUTURE_MS,
            )
            if hardfork == "cancun":
                with pytest.raises(errors.OracleError):
                    await deploying
                return
            address = await deploying
            for first, account in ((0, unlocked), (10, Account.from_key(key))):
                oracle = Oracle(rpc, address, account=account)
                age = {"max_age_s": 10**6, "max_confidence_ppm": 10_000}
                assert (await oracle.push(report(first))).stored
                assert (await oracle.read(feeds[1], **age)).price == 1001 + 10 * first
                posted = report(first + 1)
                assert (await oracle.post(posted)).stored
                assert (await oracle.prove(posted, feeds[2])).stored
                assert (await oracle.latest(3)).price == 1013 + 10 * first
                assert (await oracle.update(report(first + 2), feeds[0])).stored
                (seen,) = await oracle.peek(report(first + 3), feeds[0], **age)
                done, (used,) = await oracle.use(report(first + 3), feeds[0], **age)
                assert done.stored
                assert seen.price == used.price == 1030 + 10 * first
                assert not (await oracle.push(report(first))).stored
                bad = report(first + 5)
                with pytest.raises(errors.ReportRefused, match="BadSignature"):
                    await oracle.push(replace(bad, words=report(first).words))

    asyncio.run(main())


def reported(kit: Any, committee: Any, step: int, signers: list[int] | None = None) -> Any:
    words = [kit.word_of(*(kit.answer(1000 + 10 * step + i) for i in range(4)))]
    return committee.report(words, kit.NOW_MS + step, 1 + step, signers)
