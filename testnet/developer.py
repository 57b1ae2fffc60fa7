"""What a developer who runs the testnet copies and pastes to build on its Oracle."""

import json
from functools import cache
from typing import TYPE_CHECKING, Final

from consensus.digests import keccak
from contracts import client
from testnet.manifest import NETWORK_FILE

if TYPE_CHECKING:
    from testnet.cluster import Snapshot

PRIVATE_KEY: Final = keccak(b"the testnet's developer")
"""An account that a testnet funds on its own chain. All know the key: never use it elsewhere."""

_MAX_AGE_S: Final = 60
_MAX_CONFIDENCE_PPM: Final = 5_000


@cache
def developer_address() -> bytes:
    """Return the address of the funded account."""
    from eth_account import Account

    return bytes.fromhex(Account.from_key(PRIVATE_KEY).address[2:])


def instructions(snapshot: "Snapshot") -> list[str]:
    """Return commands to paste, once the network runs."""
    chain, deployment, rpc_url = snapshot.chain, snapshot.deployment, snapshot.rpc_url
    if chain is None or deployment is None or rpc_url is None:
        return []
    node_url = f"http://127.0.0.1:{deployment.members[0].ports.api}"
    feed = deployment.network.table.feeds[0].pair
    data = client.encode_read(0, _MAX_AGE_S, _MAX_CONFIDENCE_PPM)
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_call",
        "params": [{"to": chain.oracle, "data": "0x" + data.hex()}, "latest"],
    }
    return [
        f"The network live, as {deployment.members[0].name} shows it: {node_url}/",
        "To build on it, in another terminal:",
        "# every price that the chain holds, then one of them as a contract reads it",
        f".venv/bin/didyma oracle feeds --rpc {rpc_url} --oracle {chain.oracle}",
        f".venv/bin/didyma oracle read {feed} --rpc {rpc_url} --oracle {chain.oracle}",
        "# the same by hand: price and time in the first two words",
        f"curl -s {rpc_url} -H 'content-type: application/json' -d '{json.dumps(call)}'",
        "# a proof and calldata to bring the newest price in a transaction of your own",
        f"curl -s '{node_url}/v1/reports/latest/proof?feeds={feed}'",
        f"# all of it from Python, with a funded account (its key: 0x{PRIVATE_KEY.hex()})",
        f".venv/bin/python docs/oracle_example.py --rpc {rpc_url} --oracle {chain.oracle} "
        f"--node {node_url} --key 0x{PRIVATE_KEY.hex()}",
        f"# the network file: {snapshot.directory / NETWORK_FILE}",
    ]
