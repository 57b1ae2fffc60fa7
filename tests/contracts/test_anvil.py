"""The same on another EVM: anvil, whose precompiles are not ours (npm's @foundry-rs/anvil)."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import client

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


def test_push_and_read_on_anvil(anvil: tuple[str, Anvil], kit: Any) -> None:
    hardfork, node = anvil
    committee = kit.Committee(n=7)
    created = node.transact(None, committee.creation_code())
    if hardfork == "cancun":
        # O10: the precompiles came with prague.
        assert created["status"] == "0x0"
        return
    assert created["status"] == "0x1"
    address = bytes.fromhex(created["contractAddress"][2:])
    assert node.call(address, client.encode_getter("domain")) == committee.domain
    for step, signers in enumerate((range(7), range(7), range(2, 7), range(5))):
        words = [kit.word_of(*(kit.answer(1000 + 10 * step + i) for i in range(4)))]
        report = committee.report(words, kit.NOW_MS + step, 1 + step, list(signers))
        receipt = node.transact(address, report.calldata)
        assert receipt["status"] == "0x1"
        print(f"{hardfork}, {7 - len(signers)} of 7 absent: {int(receipt['gasUsed'], 16):,} gas")
        (log,) = receipt["logs"]
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        event = client.decode_pushed(topics, bytes.fromhex(log["data"][2:]))
        assert event is not None
        assert event.words == report.words
        assert event.id == report.header.id(committee.domain)
    answer = client.decode_latest(node.call(address, client.encode_latest(2)))
    assert answer == client.StoredAnswer(1032, 100, 1, kit.NOW_MS + 3)

    before = node.call(address, client.encode_getter("stored"))
    replayed = node.transact(address, committee.report().calldata)
    assert replayed["status"] == "0x1"
    assert replayed["logs"] == []
    newer = committee.report(observed_at_ms=kit.NOW_MS + 9, signers=list(range(4)))
    refused = node.transact(address, newer.calldata)
    assert refused["status"] == "0x0"
    good = committee.report(observed_at_ms=kit.NOW_MS + 9)
    bad = client.encode_push(
        good.header, good.words, good.bitmap, good.signature[:-1] + bytes([good.signature[-1] ^ 1])
    )
    refused = node.transact(address, bad)
    assert refused["status"] == "0x0"
    assert int(refused["gasUsed"], 16) <= 250_000
    assert node.call(address, client.encode_getter("stored")) == before
