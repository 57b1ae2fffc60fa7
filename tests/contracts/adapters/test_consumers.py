"""Other projects' contracts, compiled as they are in their packages, live on the adapters.

See tests/contracts/consumers/packages.json for where each comes from.
"""

from pathlib import Path
from typing import Any

import pytest

from contracts import abi
from testnet.chain.evm import Reverted

CONSUMERS = Path(__file__).parents[1] / "consumers"
BTC, ETH = 0, 1
ASSETS = (b"\xb7" * 20, b"\xe7" * 20)


def clone_of(market: Any, beside: Any, name: str) -> Any:
    """Deploy a contract behind a minimal proxy (ERC-1167), as its own initializer demands."""
    implementation = market.create(name)
    runtime = (
        bytes.fromhex("363d3d373d3d3d363d73")
        + implementation.address
        + bytes.fromhex("5af43d82803e903d91602b57fd5bf3")
    )
    code = bytes.fromhex("3d602d80600a3d3981f3") + runtime
    return beside.Contract(market.chain, market.chain.deploy(code), name)


def reverts(contract: Any, function: str, *arguments: Any) -> bytes:
    with pytest.raises(Reverted) as reverted:
        contract.call(function, *arguments)
    data: bytes = reverted.value.data
    return data


def prices(market: Any, kit: Any, btc: int, eth: int, status: int = 1) -> None:
    market.push(
        kit.answer(btc * 10**7, status=status),
        kit.answer(eth * 10**8, status=status),
    )


def test_aave_values_by_chainlink_adapters(market: Any, kit: Any) -> None:
    adapters = [market.adapter("ChainlinkAdapter", feed) for feed in (BTC, ETH)]
    aave = market.create(
        "AaveOracle",
        bytes(20),
        list(ASSETS),
        [adapter.address for adapter in adapters],
        bytes(20),
        bytes(20),
        10**8,
    )
    prices(market, kit, 64_000, 3_000)
    assert aave.call("getAssetsPrices", list(ASSETS)) == (64_000 * 10**8, 3_000 * 10**8)
    assert aave.call("getAssetPrice", ASSETS[ETH]) == 3_000 * 10**8
    # It looks at neither time nor status itself: the adapter does, and no fallback hides it.
    prices(market, kit, 64_000, 3_000, status=4)
    assert reverts(aave, "getAssetPrice", ASSETS[BTC])
    prices(market, kit, 65_000, 3_000)
    assert aave.call("getAssetPrice", ASSETS[BTC]) == 65_000 * 10**8
    market.wait(61)
    assert reverts(aave, "getAssetPrice", ASSETS[BTC])


def test_venus_values_by_chainlink_adapters(market: Any, kit: Any, beside: Any) -> None:
    venus = clone_of(market, beside, "ChainlinkOracle")
    allows_all = beside.constant(market.chain, 1)
    assert venus.send("initialize", allows_all).succeeded
    token = beside.constant(market.chain, 8)
    adapter = market.adapter("ChainlinkAdapter", BTC, (3_600, 5_000))
    assert venus.send("setTokenConfig", (token, adapter.address, 30)).succeeded
    prices(market, kit, 64_000, 3_000)
    assert venus.call("getPrice", token) == 64_000 * 10**28  # 36 decimals less the token's
    market.wait(31)
    # It is stricter than the adapter, and finds the time that it needs for it.
    assert b"expired" in reverts(venus, "getPrice", token)
    # A time ahead of the block's would be refused as invalid.
    ahead = (market.chain.head.timestamp + 10) * 1000
    market.push(kit.answer(65_000 * 10**7), at_ms=ahead)
    assert venus.call("getPrice", token) == 65_000 * 10**28
    market.wait(20)
    prices(market, kit, 64_000, 3_000, status=4)
    assert reverts(venus, "getPrice", token)


def test_venus_values_by_the_pyth_adapter(market: Any, kit: Any, beside: Any) -> None:
    pyth = market.create("PythAdapter", market.oracle.address, (3_600, 5_000))
    venus = clone_of(market, beside, "PythOracle")
    allows_all = beside.constant(market.chain, 1)
    assert venus.send("initialize", pyth.address, allows_all).succeeded
    token = beside.constant(market.chain, 6)
    eth = pyth.call("priceIdOf", "ETH", "USD")
    assert venus.send("setTokenConfig", (eth, token, 30)).succeeded
    prices(market, kit, 64_000, 3_000)
    assert venus.call("getPrice", token) == 3_000 * 10**30
    market.wait(31)
    assert reverts(venus, "getPrice", token)
    prices(market, kit, 64_000, 3_000, status=4)
    assert reverts(venus, "getPrice", token)


def test_pyth_s_own_aggregator_updates_and_reads_the_adapter(
    market: Any, kit: Any, beside: Any
) -> None:
    pyth = market.create("PythAdapter", market.oracle.address, (60, 5_000))
    eth = pyth.call("priceIdOf", "ETH", "USD")
    aggregator = market.create("PythAggregatorV3", pyth.address, eth)
    report = market.report(kit.answer(64_000 * 10**7), kit.answer(3_000 * 10**8))
    data = [abi.encode_tuple(report.update(ETH).encoded)]
    assert aggregator.send("updateFeeds", data, value=5).succeeded
    assert market.chain.balance(aggregator.address) == 0
    at = report.header.observed_at_ms // 1000
    assert aggregator.call("latestAnswer") == 3_000 * 10**8
    assert aggregator.call("decimals") == 8
    assert aggregator.call("latestTimestamp") == at
    assert aggregator.call("latestRoundData")[1:4] == (3_000 * 10**8, at, at)
    # It reads by `getPriceUnsafe` and checks nothing, yet is given nothing that is old or halted.
    market.wait(61)
    assert reverts(aggregator, "latestAnswer")
    prices(market, kit, 64_000, 3_000, status=4)
    assert reverts(aggregator, "latestRoundData")


@pytest.mark.parametrize(
    ("original", "adapter"),
    [("IPyth", "PythAdapter"), ("AggregatorV2V3Interface", "ChainlinkAdapter")],
)
def test_an_adapter_has_every_function_of_the_original(
    beside: Any, original: str, adapter: str
) -> None:
    def functions(name: str) -> dict[str, tuple[list[str], list[str]]]:
        return {
            entry["name"]: (beside.types_of(entry["inputs"]), beside.types_of(entry["outputs"]))
            for entry in beside.artifact(name)["abi"]
            if entry["type"] == "function"
        }

    wanted, had = functions(original), functions(adapter)
    assert wanted
    assert {name: had.get(name) for name in wanted} == wanted
