"""`python -m testnet.chain`: the embedded chain as a process of its own.

Prints one JSON line (`rpc_url`, `chain_id`) when it is ready; stops on SIGTERM, SIGINT, and when
the process that started it is gone.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

from testnet.chain.evm import WEI_PER_ETHER, EvmChain
from testnet.chain.server import serve

FUNDS_DEFAULT_WEI = 1_000 * WEI_PER_ETHER
_PARENT_CHECK_SECONDS = 0.5
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def read_funds(text: str) -> dict[bytes, int]:
    """Read `0x…,0x…`, or the name of a JSON file: a list of addresses, or an object with wei.

    Raises ValueError or OSError.
    """
    if not text:
        return {}
    if text.startswith("0x"):
        entries: object = text.split(",")
    else:
        entries = json.loads(Path(text).read_text())
    if isinstance(entries, list):
        entries = dict.fromkeys(entries, FUNDS_DEFAULT_WEI)
    if not isinstance(entries, dict):
        raise ValueError("neither a list of addresses nor an object of addresses and wei")
    funds = {}
    for address, wei in entries.items():
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            raise ValueError(f"{str(address)[:60]!r} is not an address")
        if not isinstance(wei, int) or wei < 0:
            raise ValueError(f"the balance of {address} must be a number of wei")
        funds[bytes.fromhex(address[2:])] = wei
    return funds


async def _run(arguments: argparse.Namespace, funds: dict[bytes, int]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Not PR_SET_PDEATHSIG: that fires when the parent's *thread* ends, which a worker thread does.
    parent = os.getppid()
    chain = EvmChain(chain_id=arguments.chain_id, funded=funds, test_accounts=0)
    interval = arguments.block_time
    async with serve(chain, port=arguments.port, interval_seconds=interval) as server:
        ready = {"rpc_url": server.rpc_url, "chain_id": chain.chain_id}
        print(json.dumps(ready), flush=True)
        while not stop.is_set() and os.getppid() == parent:
            try:
                await asyncio.wait_for(stop.wait(), _PARENT_CHECK_SECONDS)
            except TimeoutError:
                continue


def main() -> int:
    """Run the chain until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m testnet.chain", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--block-time", type=int, default=1, help="seconds; 0: only on evm_mine")
    parser.add_argument("--chain-id", type=int, default=31_337)
    parser.add_argument("--fund", default="", help="addresses with commas, or a JSON file")
    arguments = parser.parse_args()
    try:
        funds = read_funds(arguments.fund)
    except (OSError, ValueError) as error:
        print(f"--fund {arguments.fund}: {error}", file=sys.stderr)
        return 2
    if arguments.block_time < 0 or arguments.chain_id < 1:
        print("--block-time must not be negative and --chain-id must be positive", file=sys.stderr)
        return 2
    try:
        asyncio.run(_run(arguments, funds))
    except OSError as error:
        print(f"cannot listen on 127.0.0.1:{arguments.port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
