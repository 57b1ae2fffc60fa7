"""What a read through each adapter costs the contract that calls it, on the embedded EVM.

    make bench-adapters                    prints the table
    make bench-adapters ARGS=--write       writes the snapshot that a test compares with

Every account and slot is cold, the adapter's account included (2,600). `feed 0` stands in the
Oracle's hot slot. `behind an update`: the feed's own answer is that of the last push, while answers
of others were stored since.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests" / "contracts"
SNAPSHOT = TESTS / "snapshots" / "adapters.json"

_TRANSACTION = 21_000
_COLD_ACCOUNT = 2_600
_ETHER, _BITCOIN, _DOLLAR = b"\xee" * 20, b"\xbb" * 20, (840).to_bytes(20, "big")


def measure(kit: ModuleType | Any, beside: ModuleType | Any) -> dict[str, dict[str, int]]:
    """Return the gas of each read by its name, for each case."""
    market = beside.Market(kit, kit.deploy(kit.Committee(table=beside.table())))
    oracle = market.oracle.address
    limits = (600, 5_000)
    answers = [kit.answer(10**12)] * 4
    market.push(*answers)

    def spent(contract: Any, function: str, *arguments: Any) -> int:
        data = contract.encode(function, *arguments)
        receipt = contract.chain.transact(contract.address, data)
        assert receipt.succeeded, beside.error_text(contract.name, receipt.output)
        calldata = sum(16 if byte else 4 for byte in data)
        # A transaction's own target is warm, a contract's is not.
        return int(receipt.gas_used) - _TRANSACTION - calldata + _COLD_ACCOUNT

    def reads(feed: int) -> dict[str, int]:
        chainlink = market.adapter("ChainlinkAdapter", feed, limits)
        chronicle = market.adapter("ChronicleAdapter", feed, limits)
        pyth = market.create("PythAdapter", oracle, limits)
        pair, base = (("BTC/USD", _BITCOIN), ("ETH/USD", _ETHER))[feed]
        quote = market.create("QuoteAdapter", oracle, feed, pair, limits, base, _DOLLAR)
        price_id = market.oracle.committee.network[:30] + feed.to_bytes(2, "big")
        return {
            "Chainlink latestRoundData": spent(chainlink, "latestRoundData"),
            "Chainlink latestAnswer": spent(chainlink, "latestAnswer"),
            "Pyth getPriceUnsafe": spent(pyth, "getPriceUnsafe", price_id),
            "Pyth getPriceNoOlderThan": spent(pyth, "getPriceNoOlderThan", price_id, 60),
            "Chronicle read": spent(chronicle, "read"),
            "Chronicle readWithAge": spent(chronicle, "readWithAge"),
            "ERC-7726 getQuote": spent(quote, "getQuote", 10**8, base, _DOLLAR),
            "IOracle tryRead": spent(market.reader, "tryRead", feed, 60, 5_000),
        }

    gas = {"feed 0": reads(0), "other feeds": reads(1)}
    cross = market.create("CrossRate", (oracle, 1), (oracle, 0), 12)
    gas["other feeds"]["CrossRate read"] = spent(cross, "read", 0, 60, 5_000)
    assert market.oracle.update(market.report(*answers).update(2)).succeeded
    gas["behind an update"] = reads(1)
    return gas


def load(path: Path, name: str) -> Any:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Print the table, and write the snapshot if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the snapshot")
    options = parser.parse_args()
    kit = load(TESTS / "conftest.py", "bench_kit")
    gas = measure(kit, load(TESTS / "adapters" / "conftest.py", "bench_beside"))
    names = gas["other feeds"]
    print(f"{'':<28}" + "".join(f"{case:>18}" for case in gas))
    for name in names:
        shown = "".join(f"{gas[case].get(name, 0) or '-':>18}" for case in gas)
        print(f"{name:<28}{shown}")
    if options.write:
        SNAPSHOT.write_text(json.dumps(gas, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
