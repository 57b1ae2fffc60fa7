"""Every way to use an Oracle from Python: `make testnet` prints the command that runs this.

Without --key it only reads; with the key of a funded account it brings reports as well.
"""

import argparse
import asyncio

from eth_account import Account

from contracts.errors import NoPrice
from contracts.node_api import CertifiedReport, NodeApi
from contracts.oracle_client import Oracle, Submitted
from contracts.rpc import HttpRpc


async def read(oracle: Oracle, node: NodeApi) -> None:
    """Read what is stored, and what is newest."""
    for feed in await oracle.feeds():
        pair = f"{feed.base}/{feed.quote}"
        try:
            price = await oracle.read(pair, max_age_s=60, max_confidence_ppm=5_000)
            print(f"{pair} is {price.decimal}")
        except NoPrice as reason:
            print(f"{pair} has no price fit for use: {reason}")
    report = await node.latest()
    pair = report.feeds[0]
    # The contract verifies the certificate; no transaction, no fee.
    (newest,) = await oracle.peek(report, pair, max_age_s=30, max_confidence_ppm=5_000)
    print(f"the newest report says {pair} {newest.decimal}")


async def bring(oracle: Oracle, node: NodeApi) -> None:
    """Bring reports in each way; each is the newest one at its moment."""
    report = await node.latest()
    pair = report.feeds[0]
    show("push", await oracle.push(report))
    report = await newer(node, report.observed_at_ms)
    show("post", await oracle.post(report))
    show("prove", await oracle.prove(report, pair))
    report = await newer(node, report.observed_at_ms)
    show("update", await oracle.update(report, pair))
    report = await newer(node, report.observed_at_ms)
    done, (price,) = await oracle.use(report, pair, max_age_s=30, max_confidence_ppm=5_000)
    show(f"use, at {price.decimal}", done)


async def newer(node: NodeApi, than_ms: int) -> CertifiedReport:
    """Wait for a report that is newer."""
    while (report := await node.latest()).observed_at_ms <= than_ms:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return report


def show(what: str, done: Submitted) -> None:
    """Say what became of a transaction."""
    if done.receipt is None:
        print(f"{what}: the Oracle holds something as new, nothing was sent")
    else:
        kept = "stored" if done.stored else "somebody else was faster"
        print(f"{what}: {kept}, {done.receipt.gas_used:,} gas")


async def main() -> None:
    """Read, and bring reports if there is an account to pay with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc", required=True, help="URL of the chain's RPC server")
    parser.add_argument("--oracle", required=True, help="the contract's address")
    parser.add_argument("--node", required=True, help="URL of a node's public API")
    parser.add_argument("--key", help="private key of a funded account")
    given = parser.parse_args()
    account = Account.from_key(given.key) if given.key else None
    async with HttpRpc(given.rpc) as rpc, NodeApi(given.node) as node:
        oracle = Oracle(rpc, given.oracle, account=account)
        await read(oracle, node)
        if account is not None:
            await bring(oracle, node)


if __name__ == "__main__":
    asyncio.run(main())
