"""What every path of the Oracle costs, as whole transactions on the embedded EVM (Prague's rules).

    make bench-gas                        prints the table
    make bench-gas ARGS=--write           writes the snapshot that a test compares with
    make bench-gas ARGS="--members 4 16"  fewer committees

Every figure is of a change to what was stored before. `limit` is what no contract of this design
can go below: transaction, calldata, precompiles, and one access to the blob and one to a slot.
"""

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

MEMBERS = (4, 7, 16, 31, 67, 100)
FEEDS = (1, 5, 20, 100)
ROOT = Path(__file__).parents[2]
SNAPSHOT = ROOT / "tests" / "contracts" / "snapshots" / "gas.json"
PATHS = ("push", "post", "prove", "update", "use", "read", "stale", "malformed")

_TRANSACTION = 21_000
_PAIRING = 102_900
_HASH_TO_G2 = 2 * 23_800 + 600 + (60 + 12 * 5) + 8 * (60 + 12 * 3)
_CALLS = 13 * 100
_ADDITION = 375 + 100 + 100
_BLOB_AND_SLOT = 2_600 + 5_000


def calldata_gas(data: bytes) -> int:
    """Return what a transaction's data cost (EIP-2028)."""
    return sum(16 if byte else 4 for byte in data)


def limit(calldata: bytes, absent: int) -> int:
    """Return the least that a verified call with these data can cost."""
    fixed = _TRANSACTION + _PAIRING + _HASH_TO_G2 + _CALLS + _BLOB_AND_SLOT
    return fixed + calldata_gas(calldata) + absent * _ADDITION


def measure(kit: ModuleType | Any, n: int, feeds: int, absent: int) -> dict[str, int]:
    """Return the gas of each path for a committee, by name."""
    from contracts import client

    committee = kit.Committee(n=n, table=kit.feed_table(feeds))
    oracle = kit.deploy(committee)

    def report(step: int) -> Any:
        lanes = [kit.answer(64_000_0000000 + 1000 * step + i) for i in range(feeds)]
        words = [kit.word_of(*lanes[i : i + 4]) for i in range(0, feeds, 4)]
        at_ms = kit.NOW_MS + 250 * step
        return committee.report(words, at_ms, 1_000_000 + step, list(range(absent, n)))

    def spent(receipt: Any) -> int:
        assert receipt.succeeded, client.describe_error(receipt.output)
        return int(receipt.gas_used)

    spent(oracle.push(report(0)))
    pushed = report(1)
    gas = {"push": spent(oracle.push(pushed)), "limit": limit(pushed.calldata, absent)}
    gas["stale"] = spent(oracle.push(pushed))
    # What is no point burns all that its precompile is given.
    good = report(2).signature
    refused = oracle.push(report(2), signature=good[96:] + good[:96])
    assert client.describe_error(refused.output).startswith("MalformedSignature")
    gas["malformed"] = int(refused.gas_used)
    for step in (2, 2 + client.PROVABLE_POSTS):
        spent(oracle.post(report(step)))
        spent(oracle.prove(report(step), 0))
    third = report(2 + 2 * client.PROVABLE_POSTS)
    gas["post"] = spent(oracle.post(third))
    gas["prove"] = spent(oracle.prove(third, 0))
    gas["update"] = spent(oracle.update(report(40).update(0)))
    used = client.encode_use([report(41).update(0)], [0], 60, 10_000)
    gas["use"] = spent(oracle.send(used))
    spent(oracle.push(report(42)))
    call = client.encode_read(feeds - 1, 60, 10_000)
    # What remains is the call from another contract, its access to the account aside.
    gas["read"] = spent(oracle.send(call)) - _TRANSACTION - calldata_gas(call)
    return gas


def main() -> None:
    """Print the table, and write the snapshot if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, nargs="+", default=MEMBERS)
    parser.add_argument("--feeds", type=int, nargs="+", default=FEEDS)
    parser.add_argument("--write", action="store_true", help="write the snapshot")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests" / "contracts"))
    import conftest as kit  # type: ignore[import-not-found]

    print(f"{'n':>4}{'feeds':>6}{'absent':>7}{'limit':>9}" + "".join(f"{p:>9}" for p in PATHS))
    snapshot = {}
    for n in options.members:
        for feeds in options.feeds:
            for absent in (0, (n - 1) // 3):
                gas = measure(kit, n, feeds, absent)
                snapshot[f"{n} members, {feeds} feeds, {absent} absent"] = gas
                shown = "".join(f"{gas[path]:>9,}" for path in PATHS)
                print(f"{n:>4}{feeds:>6}{absent:>7}{gas['limit']:>9,}{shown}", flush=True)
    if options.write:
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(json.dumps(snapshot, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
