"""`python -m testnet.chain.anvil`: anvil behind the same command line as the embedded chain.

anvil is found on PATH, or installed once by npm into a cache directory. Its own clock drifts from
the wall clock, so it makes no blocks by itself: this process asks for one each second and gives it
its time.
"""

import argparse
import asyncio
import contextlib
import ctypes
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

from testnet.chain.process import Stop, announce, arguments_of

VERSION: Final = "1.7.1"
HARDFORK: Final = "prague"
"""The first hardfork with the BLS precompiles, and the embedded chain's."""

_READY_SECONDS: Final = 30
_INSTALL_SECONDS: Final = 300
_LISTENING: Final = re.compile(rb"Listening on 127\.0\.0\.1:(\d+)")
_PR_SET_PDEATHSIG: Final = 1


class AnvilError(Exception):
    """anvil cannot be had or does not start; one line that says what to do."""


def cache_directory() -> Path:
    """Return where anvil is installed if it is not on PATH."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "didyma" / f"anvil-{VERSION}"


def find_anvil() -> Path | None:
    """Return anvil's executable, from PATH or the cache directory; None if it is in neither."""
    on_path = shutil.which("anvil")
    if on_path:
        return Path(on_path)
    installed = cache_directory() / "node_modules" / "@foundry-rs" / _package() / "bin" / "anvil"
    return installed if installed.is_file() else None


def install_anvil() -> Path:
    """Install anvil with npm into the cache directory; return its executable.

    Raises AnvilError.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise AnvilError(
            "anvil is not on PATH, and npm, which would install it, is not either: "
            "install Node.js (Debian: apt install npm) or use the embedded chain"
        )
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    # The package's own script only links the executable; none of the packages' code is run here.
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]
    try:
        subprocess.run(
            [*command, str(directory), f"@foundry-rs/anvil@{VERSION}"],
            check=True,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise AnvilError(f"npm could not install anvil {VERSION}: {error}") from None
    found = find_anvil()
    if found is None:
        raise AnvilError(f"npm has no anvil {VERSION} for this machine ({_package()})")
    return found


def _package() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"anvil-{platform.system().lower()}-{machine}"


def _die_with_parent() -> None:
    # Runs in the child between fork and exec; asyncio forks in the main thread, which lives on.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Anvil:
    """A running anvil, spoken to over its JSON-RPC."""

    def __init__(self, rpc_url: str, session: aiohttp.ClientSession) -> None:
        self.rpc_url = rpc_url
        self._session = session

    async def request(self, method: str, *params: object) -> Any:
        """Call a method; raise AnvilError if it fails."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            async with self._session.post(self.rpc_url, json=body) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise AnvilError(f"anvil does not answer {method}: {type(error).__name__}") from None
        if "error" in answer:
            raise AnvilError(f"anvil refuses {method}: {answer['error'].get('message')}")
        return answer["result"]

    async def fund(self, funds: dict[bytes, int]) -> None:
        """Give accounts their balance, in wei."""
        for address, wei in funds.items():
            await self.request("anvil_setBalance", "0x" + address.hex(), hex(wei))

    async def make_blocks(self, interval_seconds: int) -> None:
        """Make a block at each full second of the wall clock, with its time, until cancelled."""
        head = await self.request("eth_getBlockByNumber", "latest", False)
        newest = int(head["timestamp"], 16)
        while True:
            await asyncio.sleep(interval_seconds - time.time() % interval_seconds)
            newest = max(int(time.time()), newest + 1)
            await self.request("evm_mine", hex(newest))


async def _run(arguments: argparse.Namespace, executable: Path) -> None:
    stop = Stop()
    process = await asyncio.create_subprocess_exec(
        executable,
        *("--host", "127.0.0.1", "--port", str(arguments.port)),
        *("--chain-id", str(arguments.chain_id), "--hardfork", HARDFORK),
        *("--no-mining", "--accounts", "1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_die_with_parent,
    )
    try:
        port = await _listening_port(process)
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            anvil = Anvil(f"http://127.0.0.1:{port}", session)
            await anvil.fund(arguments.fund)
            announce(anvil.rpc_url, arguments.chain_id)
            await _until_first(
                stop.wait(),
                _drain(process),
                *([anvil.make_blocks(arguments.block_time)] if arguments.block_time else []),
            )
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listening_port(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while line := await process.stdout.readline():
                said = line
                if found := _LISTENING.search(line):
                    return int(found[1])
    except TimeoutError:
        raise AnvilError(f"anvil does not listen after {_READY_SECONDS} s") from None
    raise AnvilError(f"anvil stopped at once: {said.decode(errors='replace').strip()}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read anvil's log, lest it blocks; raise when anvil ends."""
    assert process.stdout is not None
    while await process.stdout.read(1 << 16):
        pass
    raise AnvilError("anvil stopped")


async def _until_first(*coroutines: Any) -> None:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    """Run anvil until this process is told to stop; return the exit code."""
    arguments = arguments_of("python -m testnet.chain.anvil", "anvil, with blocks on wall time.")
    try:
        asyncio.run(_run(arguments, find_anvil() or install_anvil()))
    except AnvilError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
