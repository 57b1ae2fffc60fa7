"""Contracts beside an Oracle, called by name, and a market whose feeds have units that chain."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_abi import decode, encode

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.table import FeedTable
from consensus.digests import keccak
from contracts import abi, client
from testnet.chain.evm import EvmChain, Receipt, Reverted

ARTIFACTS = Path(__file__).parents[1] / "artifacts"

PAIRS = (("BTC", "USD", 7), ("ETH", "USD", 8), ("CBETH", "ETH", 9), ("SHIB", "USD", 12))
BTC, ETH, CBETH, SHIB = range(4)
LIVE, CARRIED, DEGRADED, HALTED, UNAVAILABLE = 1, 2, 3, 4, 0
LIMITS = (60, 5_000)
"""Of every adapter here: at most 60 s old, certain to 0.5 %."""


@cache
def artifact(name: str) -> dict[str, Any]:
    """Return a contract's artifact: the tests', other projects', or what is shipped."""
    for folder in (ARTIFACTS, ARTIFACTS / "consumers"):
        path = folder / f"{name}.json"
        if path.exists():
            loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return loaded
    return abi.artifact(name)


def type_of(parameter: dict[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(type_of, parameter['components']))}){kind.removeprefix('tuple')}"


def types_of(parameters: list[dict[str, Any]]) -> list[str]:
    return [type_of(parameter) for parameter in parameters]


@dataclass(frozen=True)
class Contract:
    """A deployed contract; `call` and `send` take a function's name and its arguments."""

    chain: EvmChain
    address: bytes
    name: str

    def encode(self, function: str, *arguments: Any) -> bytes:
        (entry,) = (
            e
            for e in artifact(self.name)["abi"]
            if e["type"] == "function"
            and e["name"] == function
            and len(e["inputs"]) == len(arguments)
        )
        types = types_of(entry["inputs"])
        return keccak(f"{function}({','.join(types)})".encode())[:4] + encode(types, arguments)

    def call(self, function: str, *arguments: Any) -> Any:
        """Return the value, or all of several."""
        output = self.chain.call(self.address, self.encode(function, *arguments))
        entry = next(e for e in artifact(self.name)["abi"] if e.get("name") == function)
        values = decode(types_of(entry["outputs"]), output)
        return values[0] if len(values) == 1 else values

    def send(self, function: str, *arguments: Any, **options: Any) -> Receipt:
        return self.chain.transact(self.address, self.encode(function, *arguments), **options)

    def refusal(self, function: str, *arguments: Any) -> str:
        """Return what the call reverts with."""
        with pytest.raises(Reverted) as reverted:
            self.call(function, *arguments)
        return error_text(self.name, reverted.value.data)


def error_text(name: str, data: bytes) -> str:
    """Return revert data as it stands in the source, the values alone."""
    if data[:4] == keccak(b"Error(string)")[:4]:
        return str(decode(["string"], data[4:])[0])
    for contract in (name, "Oracle"):
        for entry in artifact(contract)["abi"]:
            if entry["type"] != "error":
                continue
            types = types_of(entry["inputs"])
            if keccak(f"{entry['name']}({','.join(types)})".encode())[:4] == data[:4]:
                values = ", ".join(str(value) for value in decode(types, data[4:]))
                return f"{entry['name']}({values})"
    return "0x" + data.hex()


def create(chain: EvmChain, name: str, *arguments: Any) -> Contract:
    """Deploy a contract; raises `Reverted` with the constructor's error."""
    built = artifact(name)
    inputs = next((e["inputs"] for e in built["abi"] if e["type"] == "constructor"), [])
    code = bytes.fromhex(built["bytecode"][2:]) + encode(types_of(inputs), arguments)
    return Contract(chain, chain.deploy(code), name)


def refused_creation(chain: EvmChain, name: str, *arguments: Any) -> str:
    with pytest.raises(Reverted) as reverted:
        create(chain, name, *arguments)
    return error_text(name, reverted.value.data)


def constant(chain: EvmChain, *words: int) -> bytes:
    """Deploy what returns these words to every call, and return its address."""
    body = b"".join(
        b"\x7f" + word.to_bytes(32, "big") + b"\x61" + (32 * place).to_bytes(2, "big") + b"\x52"
        for place, word in enumerate(words)
    )
    runtime = body + b"\x61" + (32 * len(words)).to_bytes(2, "big") + b"\x5f\xf3"
    size = len(runtime).to_bytes(2, "big")
    return chain.deploy(b"\x61" + size + b"\x80\x60\x0a\x5f\x39\x5f\xf3" + runtime)


def table(pairs: tuple[tuple[str, str, int], ...] = PAIRS) -> FeedTable:
    return FeedTable(
        tuple(
            FeedSpec(
                base=base,
                quote=quote,
                decimals=decimals,
                tier=1,
                minimum_sources=2,
                max_half_spread_ppm=5_000,
                deviation_ppm=1_000,
                heartbeat_ms=30_000,
                sources=tuple(
                    SourceSpec(venue, base, quote, 10, 5_000)
                    for venue in ("coinbase_exchange", "kraken", "gemini")
                ),
            )
            for base, quote, decimals in pairs
        )
    )


@dataclass
class Market:
    """An Oracle of real reports for the pairs above, and what is deployed beside it."""

    kit: Any
    oracle: Any
    view: int = 0

    @property
    def chain(self) -> EvmChain:
        chain: EvmChain = self.oracle.chain
        return chain

    @property
    def reader(self) -> Contract:
        return Contract(self.chain, self.oracle.address, "Oracle")

    def report(self, *answers: int, at_ms: int | None = None) -> Any:
        """Sign a report of these answers, by default of the next block's second."""
        self.view += 1
        at_ms = (self.chain.head.timestamp + 1) * 1000 if at_ms is None else at_ms
        words = [
            self.kit.word_of(*answers[first : first + 4]) for first in range(0, len(answers), 4)
        ]
        return self.oracle.committee.report(words, at_ms, self.view)

    def push(self, *answers: int, at_ms: int | None = None) -> Any:
        report = self.report(*answers, at_ms=at_ms)
        receipt = self.oracle.push(report)
        assert receipt.succeeded, client.describe_error(receipt.output)
        assert client.decode_stored_flag(receipt.output)
        return report

    def wait(self, seconds: int) -> None:
        self.chain.mine(timestamp=self.chain.head.timestamp + seconds)

    def create(self, name: str, *arguments: Any) -> Contract:
        return create(self.chain, name, *arguments)

    def adapter(self, name: str, feed: int = BTC, limits: tuple[int, int] = LIMITS) -> Contract:
        """Deploy an adapter of one feed."""
        pair = "{}/{}".format(*PAIRS[feed][:2])
        return self.create(name, self.oracle.address, feed, pair, limits)


@pytest.fixture
def market(kit: Any) -> Market:
    return Market(kit, kit.deploy(kit.Committee(table=table())))


@pytest.fixture(scope="session")
def beside() -> Any:
    """What tests build their cases from."""
    return SimpleNamespace(
        Contract=Contract,
        Market=Market,
        artifact=artifact,
        constant=constant,
        create=create,
        error_text=error_text,
        refused_creation=refused_creation,
        table=table,
        types_of=types_of,
    )


@pytest.fixture
def settable(kit: Any) -> Callable[..., Contract]:
    """Deploy a reader that says what it is told, with these feeds."""

    def deploy(*feeds: tuple[str, str, int]) -> Contract:
        chain = EvmChain(genesis_time=kit.CHAIN_TIME)
        reader = create(chain, "SettableReader")
        for feed in feeds:
            assert reader.send("add", *feed).succeeded
        return reader

    return deploy
