"""The embedded chain as clients see it: web3, raw JSON-RPC, and as a process."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from testnet.chain.anvil import find_anvil
from testnet.chain.evm import EvmChain
from testnet.chain.process import read_funds
from testnet.chain.server import ChainServer, serve

CHAIN_ID = 909
RUNTIME = "5f35805f555f5260015f5fa15f5160ff1460185760205ff35b60205ffd"
CREATION = bytes.fromhex("601d8060095f395ff3" + RUNTIME)
ADDRESS = "0x" + "ab" * 20


def run(scenario: Callable[[ChainServer], Coroutine[Any, Any, None]], interval: int = 0) -> None:
    async def main() -> None:
        async with serve(EvmChain(chain_id=CHAIN_ID), interval_seconds=interval) as server:
            await scenario(server)

    asyncio.run(main())


async def post(url: str, body: Any) -> Any:
    async with aiohttp.ClientSession() as session:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=io.BytesIO(data), headers=headers) as response:
            return await response.json() if response.status == 200 else response.status


def request(identifier: int, method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}


async def ask(server: ChainServer, method: str, *params: Any) -> Any:
    answer = await post(server.rpc_url, request(1, method, *params))
    return answer.get("result", answer.get("error"))


def test_web3_deploys_calls_and_reads_logs() -> None:
    async def scenario(server: ChainServer) -> None:
        from web3 import AsyncHTTPProvider, AsyncWeb3
        from web3.exceptions import ContractLogicError

        w3 = AsyncWeb3(AsyncHTTPProvider(server.rpc_url))
        try:
            account = w3.eth.account.from_key(server.chain.accounts[0].private_key)
            assert await w3.eth.chain_id == CHAIN_ID

            async def send(nonce: int, **parts: Any) -> Any:
                fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}
                parts |= fees | {"nonce": nonce, "chainId": CHAIN_ID, "gas": 200_000, "value": 0}
                raw = account.sign_transaction(parts).raw_transaction
                return await w3.eth.send_raw_transaction(raw)

            created = await send(0, data=CREATION)
            pending = await w3.eth.get_transaction(created)
            assert pending["blockNumber"] is None
            assert await w3.eth.get_transaction_count(account.address, "pending") == 1
            assert await w3.eth.get_transaction_count(account.address) == 0
            await server.producer.mine()
            contract = (await w3.eth.get_transaction_receipt(created))["contractAddress"]
            assert (await w3.eth.get_code(contract)).hex() == RUNTIME
            argument = "0x" + "00" * 31
            assert (await w3.eth.call({"to": contract, "data": argument + "05"}))[-1] == 5
            with pytest.raises(ContractLogicError) as caught:
                await w3.eth.call({"to": contract, "data": argument + "ff"})
            assert caught.value.data == argument + "ff"
            assert await w3.eth.estimate_gas({"to": contract, "data": argument + "05"}) > 40_000
            called = await send(1, to=contract, data=argument + "07")
            await server.producer.mine()
            receipt = await w3.eth.get_transaction_receipt(called)
            assert receipt["status"] == 1
            query: Any = {"fromBlock": 0, "toBlock": "latest", "address": contract}
            for topics, count in (([], 1), (["0x" + "00" * 31 + "01"], 1), (["0x" + "ff" * 32], 0)):
                assert len(await w3.eth.get_logs(query | {"topics": topics})) == count
            block = await w3.eth.get_block("latest", True)
            assert block["transactions"][0]["hash"] == called
            history = await w3.eth.fee_history(2, "latest", [50.0])
            assert len(history["baseFeePerGas"]) == 3
            assert history["reward"][1] == [10**9]
            assert await w3.eth.get_balance(account.address) < 10_000 * 10**18
        finally:
            await w3.provider.disconnect()

    run(scenario)


def test_batches_and_errors_have_the_codes_of_json_rpc() -> None:
    async def scenario(server: ChainServer) -> None:
        url = server.rpc_url
        batch = [request(7, "eth_chainId"), request(8, "eth_none"), 5]
        answers = await post(url, batch)
        assert [one["id"] for one in answers] == [7, 8, None]
        assert answers[0]["result"] == hex(CHAIN_ID)
        assert [one["error"]["code"] for one in answers[1:]] == [-32601, -32600]
        assert (await post(url, b"{nonsense"))["error"]["code"] == -32700
        assert (await post(url, b"[" * 4_000))["error"]["code"] == -32700
        assert (await post(url, b"[" * 60_000))["error"]["code"] == -32600
        assert (await post(url, []))["error"]["code"] == -32600
        assert (await post(url, [request(1, "eth_chainId")] * 101))["error"]["code"] == -32600
        assert (await post(url, b"x" * (2 << 20))) == 413

    run(scenario)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_getBalance", [], -32602),
        ("eth_getBalance", ["0x12"], -32602),
        ("eth_getBalance", [ADDRESS, "0x99"], -32000),
        ("eth_getBalance", [ADDRESS, "soon"], -32602),
        ("eth_call", ["text"], -32602),
        ("eth_call", [{"to": ADDRESS, "value": "0x00"}], -32602),
        ("eth_sendRawTransaction", ["0x02c0"], -32602),
        ("eth_getLogs", [{"fromBlock": "0x0", "topics": [5]}], -32602),
        ("evm_setNextBlockTimestamp", [1], -32602),
        ("evm_setIntervalMining", ["x"], -32602),
    ],
)
def test_wrong_parameters_are_refused(method: str, params: list[Any], code: int) -> None:
    async def scenario(server: ChainServer) -> None:
        assert (await ask(server, method, *params))["code"] == code

    run(scenario)


def test_a_range_of_logs_may_begin_beyond_the_head() -> None:
    async def scenario(server: ChainServer) -> None:
        assert await ask(server, "eth_getLogs", {"fromBlock": "0x5", "toBlock": "latest"}) == []
        assert await ask(server, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x5"}) == []

    run(scenario)


def test_a_block_is_made_at_a_time_that_is_asked_for() -> None:
    async def scenario(server: ChainServer) -> None:
        later = server.chain.head.timestamp + 500
        await ask(server, "evm_mine", hex(later))
        assert server.chain.head.timestamp == later
        await ask(server, "evm_setNextBlockTimestamp", later + 500)
        await ask(server, "evm_mine")
        assert server.chain.head.timestamp == later + 500

    run(scenario)


def test_the_server_answers_while_code_runs() -> None:
    async def scenario(server: ChainServer) -> None:
        looping = server.chain.deploy(bytes.fromhex("635b5f56005f526004601cf3"))
        message = {"to": "0x" + looping.hex(), "gas": hex(400_000)}
        call = asyncio.create_task(ask(server, "eth_call", message, "latest"))
        answered = 0
        while not call.done():
            assert await ask(server, "eth_chainId") == hex(CHAIN_ID)
            answered += 1
        assert answered > 3
        assert (await call)["message"] == "out of gas"

    run(scenario)


def test_blocks_come_on_the_wall_clock() -> None:
    async def scenario(server: ChainServer) -> None:
        async with asyncio.timeout(20):
            while server.chain.head.number < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert abs(server.chain.head.timestamp - time.time()) < 10

    run(scenario, interval=1)


def started(module: str, *arguments: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--chain-id", "42", "--fund", ADDRESS, *arguments],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def check_process(module: str) -> None:
    process, ready = started(module)

    async def main() -> None:
        url = ready["rpc_url"]
        wants = [("eth_chainId", []), ("eth_getBalance", [ADDRESS, "latest"])]
        batch = [
            {"jsonrpc": "2.0", "id": i, "method": m, "params": p} for i, (m, p) in enumerate(wants)
        ]
        results = [one["result"] for one in await post(url, batch)]
        assert [int(one, 16) for one in results] == [42, 1_000 * 10**18]
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "eth_getBlockByNumber",
            "params": ["latest", False],
        }
        async with asyncio.timeout(20):
            while True:
                block = (await post(url, body))["result"]
                if int(block["number"], 16) >= 2:
                    break
                await asyncio.sleep(0.05)
        assert abs(int(block["timestamp"], 16) - time.time()) < 10

    try:
        assert ready["chain_id"] == 42
        asyncio.run(main())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_the_process_funds_announces_itself_and_stops() -> None:
    check_process("testnet.chain")


def test_the_process_outlives_deeply_nested_requests() -> None:
    process, ready = started("testnet.chain")

    async def main() -> None:
        for opening in (b"[", b'{"a":'):
            assert "error" in await post(ready["rpc_url"], opening * 60_000)
        assert (await post(ready["rpc_url"], request(1, "eth_chainId")))["result"] == hex(42)

    try:
        asyncio.run(main())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(find_anvil() is None, reason="anvil is neither on PATH nor installed")
def test_anvil_behaves_the_same() -> None:
    check_process("testnet.chain.anvil")


def test_the_process_stops_when_its_parent_is_gone() -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'testnet.chain'],"
        " stdout=subprocess.PIPE); print(p.stdout.readline().decode(), p.pid, flush=True)"
    )
    parent = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
    )
    process = int(parent.stdout.split()[-1])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    pytest.fail("the chain outlived its parent")


def test_funds_are_read_from_addresses_and_files(tmp_path: Any) -> None:
    assert read_funds(ADDRESS) == {b"\xab" * 20: 1_000 * 10**18}
    file = tmp_path / "funds.json"
    file.write_text(json.dumps({ADDRESS: 5}))
    assert read_funds(str(file)) == {b"\xab" * 20: 5}
    for content in ("5", '{"0x12": 5}', json.dumps({ADDRESS: -1}), json.dumps({ADDRESS: "5"})):
        file.write_text(content)
        with pytest.raises(ValueError, match=r"address|wei"):
            read_funds(str(file))
