"""`python -m testnet.chain`: the embedded chain as a process of its own.

Prints one JSON line (`rpc_url`, `chain_id`) when it is ready; stops on SIGTERM, SIGINT, and when
the process that started it is gone.
"""

import argparse
import asyncio
import sys

from testnet.chain.evm import EvmChain
from testnet.chain.process import Stop, announce, arguments_of
from testnet.chain.server import serve


async def _run(arguments: argparse.Namespace) -> None:
    stop = Stop()
    chain = EvmChain(chain_id=arguments.chain_id, funded=arguments.fund, test_accounts=0)
    interval = arguments.block_time
    async with serve(chain, port=arguments.port, interval_seconds=interval) as server:
        announce(server.rpc_url, chain.chain_id)
        await stop.wait()


def main() -> int:
    """Run the chain until it is told to stop; return the exit code."""
    arguments = arguments_of("python -m testnet.chain", "An EVM chain in this process.")
    try:
        asyncio.run(_run(arguments))
    except OSError as error:
        print(f"cannot listen on 127.0.0.1:{arguments.port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
