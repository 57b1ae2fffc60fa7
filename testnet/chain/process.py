"""What both chain processes share: their command line, whom to fund, when to stop."""

import argparse
import asyncio
import json
import os
import re
import signal
from pathlib import Path

from testnet.chain.evm import WEI_PER_ETHER

FUNDS_DEFAULT_WEI = 1_000 * WEI_PER_ETHER
_PARENT_CHECK_SECONDS = 0.5
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def arguments_of(program: str, description: str) -> argparse.Namespace:
    """Read the command line; exit with status 2 and one line if it is wrong."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--block-time", type=int, default=1, help="seconds; 0: only on evm_mine")
    parser.add_argument("--chain-id", type=int, default=31_337)
    parser.add_argument(
        "--fund", type=_funds, default={}, help="addresses with commas, or a JSON file"
    )
    arguments = parser.parse_args()
    if arguments.block_time < 0 or arguments.chain_id < 1 or not 0 <= arguments.port < 65_536:
        parser.error("--block-time must not be negative, --chain-id positive, --port below 65536")
    return arguments


def read_funds(text: str) -> dict[bytes, int]:
    """Read `0x…,0x…`, or the name of a JSON file: a list of addresses, or an object with wei.

    Raises ValueError or OSError.
    """
    if not text:
        return {}
    if text.startswith("0x"):
        entries: object = text.split(",")
    else:
        entries = json.loads(Path(text).read_text("utf-8"))
    if isinstance(entries, list):
        entries = {str(entry): FUNDS_DEFAULT_WEI for entry in entries}
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


def _funds(text: str) -> dict[bytes, int]:
    try:
        return read_funds(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def announce(rpc_url: str, chain_id: int) -> None:
    """Print the line that tells whoever started us where we are."""
    print(json.dumps({"rpc_url": rpc_url, "chain_id": chain_id}), flush=True)


class Stop:
    """Set on SIGTERM and SIGINT, and when the process that started this one is gone.

    Not by PR_SET_PDEATHSIG: that fires when the parent's *thread* ends, and processes are often
    started by short-lived worker threads.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._parent = os.getppid()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._event.set)

    async def wait(self) -> None:
        """Return when it is time to stop."""
        while not self._event.is_set() and os.getppid() == self._parent:
            try:
                await asyncio.wait_for(self._event.wait(), _PARENT_CHECK_SECONDS)
            except TimeoutError:
                continue
