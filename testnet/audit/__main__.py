"""`python -m testnet.audit DIRECTORY [--rpc URL]`: judge a testnet after its nodes have stopped.

With `--rpc` the chain is asked and what it says is kept in the directory; without, what was kept is
read. Prints one JSON object. Exit status 0 only if something was certified and nothing violated.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from testnet.audit.case import AuditFailed, Case, load_members, load_network
from testnet.audit.chain_record import (
    ChainUnreadable,
    fetch_chain_record,
    load_chain_record,
    save_chain_record,
)
from testnet.audit.verdict import Verdict, failed, judge


def audit(directory: Path, rpc_url: str | None = None) -> Verdict:
    """Return the verdict on a testnet's directory; what cannot be read is never ok."""
    try:
        manifest, network = load_network(directory)
        if rpc_url is None:
            chain = load_chain_record(directory)
        else:
            oracle = bytes.fromhex(manifest.chain.oracle.removeprefix("0x"))
            chain = asyncio.run(fetch_chain_record(rpc_url, oracle, network.table.count))
            save_chain_record(directory, chain)
        members = load_members(directory, manifest, network)
        return judge(Case(manifest, network, tuple(members), chain))
    except (AuditFailed, ChainUnreadable) as error:
        return failed(str(error))


def main() -> int:
    """Print the verdict."""
    parser = argparse.ArgumentParser(prog="python -m testnet.audit", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rpc", metavar="URL", help="the chain's RPC server, while it runs")
    arguments = parser.parse_args()
    verdict = audit(arguments.directory, arguments.rpc)
    sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n")
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
