"""A perpetual market on the embedded chain, with traders, a backer and reports as wanted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_keys.datatypes import PrivateKey
from eth_typing import Address

from consensus.digests import keccak
from contracts import abi, client, settlement
from contracts.settlement import Requested
from testnet.chain.evm import Account, Receipt

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
DOLLAR = 10**6
BITCOIN = 10**8
UNIT = 10**7
"""Of the feed's price."""
DELAY_MS = 16_000
PATIENCE_MS = 60_000
CONFIDENCE_MAX_PPM = 5_000
MAX_AGE_S = 5
FEE = DOLLAR
PROFIT_CAP = 5
SMALL = 50_000 * DOLLAR
NO_LIMIT = (1 << 128) - 1

_UPDATES = "((uint256[6],bytes32,uint256),(uint16,uint16,uint256,bytes32[])[])[]"
_SIGNATURES = {
    "open": f"open(int128,uint128,uint128,{_UPDATES})",
    "close": f"close(uint128,{_UPDATES})",
    "liquidate": f"liquidate(address,{_UPDATES})",
    "requestOpen": "requestOpen(int128,uint128,uint128)",
    "requestClose": "requestClose(uint128)",
    "addMargin": "addMargin(uint128)",
    "refresh": f"refresh({_UPDATES})",
    "doubt": "doubt()",
    "expire": "expire(uint256)",
    "unwind": "unwind(address)",
    "deadAt": "deadAt()",
    "deposit": "deposit(uint256)",
    "withdraw": "withdraw(uint256)",
    "fund": "fund(uint256)",
    "defund": "defund(uint256)",
    "positionOf": "positionOf(address)",
    "balanceOf": "balanceOf(address)",
    "pendingOf": "pendingOf(address)",
    "orders": "orders(uint256)",
    "pool": "pool()",
    "reserved": "reserved()",
}


def encode(function: str, *arguments: int | bytes | abi.Dynamic) -> bytes:
    words = [
        abi.encode_word(part % (1 << 256)) if isinstance(part, int) else part for part in arguments
    ]
    return keccak(_SIGNATURES[function].encode())[:4] + abi.encode_tuple(*words)


def updates(*reports: Any) -> abi.Dynamic:
    return abi.encode_array([report.update(0).encoded for report in reports])


def account(who: Account | bytes) -> bytes:
    address = who if isinstance(who, bytes) else who.address
    return bytes(12) + address


@dataclass(frozen=True)
class Position:
    size: int
    margin: int
    entry: int
    reserve: int


def errors() -> dict[bytes, str]:
    entries = json.loads((ARTIFACTS / "Perpetual.json").read_text())["abi"]
    return {
        keccak(f"{e['name']}({','.join(p['type'] for p in e['inputs'])})".encode())[:4]: e["name"]
        for e in entries
        if e["type"] == "error"
    }


ERRORS = errors()
REFUSALS = ("None", "BeyondLimit", "MarginTooSmall", "NoPosition")


@dataclass
class Market:
    """`at` is a price in dollars with a confidence; each transaction has a block of its own."""

    kit: Any
    oracle: Any
    token: bytes
    address: bytes
    branch: Any
    view: int = 0
    accounts: Sequence[Account] = field(default_factory=tuple)

    @property
    def chain(self) -> Any:
        return self.oracle.chain

    @property
    def backer(self) -> Account:
        return self.accounts[1]

    def trader(self, number: int) -> Account:
        return self.accounts[2 + number]

    # Reports.

    def report(
        self, dollars: float, confidence: int = 0x640, status: int = 1, age_s: int = 0
    ) -> Any:
        """Return a report observed so long before the next block, which comes a second on."""
        at_ms = (self.chain.head.timestamp + 1 - age_s) * 1000
        self.view += 1
        word = self.kit.word_of(self.kit.answer(round(dollars * UNIT), confidence, status))
        return self.oracle.committee.report([word], at_ms, self.view)

    # Calls.

    def send(self, who: Account, function: str, *arguments: Any, **options: Any) -> Receipt:
        data = encode(function, *arguments)
        receipt: Receipt = self.chain.transact(self.address, data, sender=who, **options)
        return receipt

    def done(self, who: Account, function: str, *arguments: Any) -> Receipt:
        receipt = self.send(who, function, *arguments)
        assert receipt.succeeded, self.error(receipt)
        return receipt

    def error(self, receipt: Receipt) -> str:
        """Return the name of the error, with the refusal in it."""
        assert not receipt.succeeded
        name = ERRORS.get(receipt.output[:4])
        if name == "Refused":
            return f"Refused({REFUSALS[receipt.output[35]]})"
        if name is not None:
            return name
        found = settlement.decode_error(receipt.output)
        return found.name if found else f"0x{receipt.output.hex()}"

    def open(
        self,
        who: Account,
        size: int,
        margin: int,
        dollars: float,
        limit: int | None = None,
        **answer: int,
    ) -> Receipt:
        limit = (NO_LIMIT if size > 0 else 0) if limit is None else limit
        report = self.report(dollars, **answer)
        return self.send(who, "open", size, margin, limit, updates(report))

    def close(
        self, who: Account, dollars: float, limit: int | None = None, **answer: int
    ) -> Receipt:
        if limit is None:
            limit = 0 if self.position(who).size > 0 else NO_LIMIT
        return self.send(who, "close", limit, updates(self.report(dollars, **answer)))

    def liquidate(self, by: Account, who: Account, dollars: float, **answer: int) -> Receipt:
        return self.send(by, "liquidate", account(who), updates(self.report(dollars, **answer)))

    def request(self, who: Account, function: str, *arguments: Any) -> Requested:
        receipt = self.done(who, function, *arguments)
        (log,) = receipt.logs
        requested = settlement.decode_requested(list(log.topics), log.data)
        assert requested is not None
        return requested

    def settle(self, by: Account, request: Requested, dollars: float, **answer: int) -> Receipt:
        """Make the request's report and what is around it, wait, and settle."""
        branch = self.branch
        for at_ms, price in ((-100, 1), (150, dollars), (400, 2)):
            word = self.kit.word_of(self.kit.answer(round(price * UNIT), **answer))
            branch.add([word], request.moment_ms + at_ms)
        self.wait_until(request.moment_ms + 1_000)
        return self.settle_by(by, request, len(branch.blocks) - 1)

    def settle_by(self, by: Account, request: Requested, block: int) -> Receipt:
        data = settlement.encode_settle(request.id, *self.branch.proof(block))
        receipt: Receipt = self.chain.transact(self.address, data, sender=by)
        return receipt

    def expire(self, by: Account, request: Requested) -> Receipt:
        data = settlement.encode_expire(request.id)
        receipt: Receipt = self.chain.transact(self.address, data, sender=by)
        return receipt

    def wait_until(self, at_ms: int) -> None:
        if at_ms // 1000 > self.chain.head.timestamp:
            self.chain.set_timestamp(at_ms // 1000)

    def block_of(self, *calls: tuple[Account, bytes, bytes]) -> list[Receipt]:
        """Put transactions (sender, to, data), in this order, into one block."""
        nonces: dict[bytes, int] = {}
        signed = []
        for sender, to, data in calls:
            nonce = nonces.get(sender.address, self.chain.nonce(sender.address))
            nonces[sender.address] = nonce + 1
            unsigned = PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
                chain_id=self.chain.chain_id,
                nonce=nonce,
                max_priority_fee_per_gas=0,
                max_fee_per_gas=self.chain.next_base_fee(),
                gas=3_000_000,
                to=Address(to),
                value=0,
                data=data,
                access_list=[],
            )
            key = PrivateKey(sender.private_key)
            signed.append(unsigned.as_signed_transaction(key, self.chain.chain_id))
        block, refused = self.chain.mine(signed)
        assert not refused
        return list(block.receipts)

    # State.

    def read(self, function: str, *arguments: Any) -> bytes:
        output: bytes = self.chain.call(self.address, encode(function, *arguments))
        return output

    def number(self, function: str, *arguments: Any) -> int:
        return int.from_bytes(self.read(function, *arguments), "big")

    def balance(self, who: Account) -> int:
        return self.number("balanceOf", account(who))

    def position(self, who: Account) -> Position:
        data = self.read("positionOf", account(who))
        size, *others = (int.from_bytes(data[i : i + 32], "big") for i in range(0, 128, 32))
        return Position(size - (1 << 256) if size >> 255 else size, *others)

    def order_margin(self, order: int) -> int:
        return int.from_bytes(self.read("orders", order)[64:96], "big")

    def held(self) -> int:
        data = keccak(b"balanceOf(address)")[:4] + account(self.address)
        return int.from_bytes(self.chain.call(self.token, data), "big")

    def owed(self) -> tuple[int, int]:
        """Return everything that the market owes, and what it must have set aside."""
        total, reserve = self.number("pool"), 0
        for who in self.accounts:
            position = self.position(who)
            total += self.balance(who) + position.margin
            reserve += position.reserve
            if order := self.number("pendingOf", account(who)):
                margin = self.order_margin(order)
                total += margin + FEE
                reserve += margin * PROFIT_CAP
        return total, reserve

    def check(self) -> None:
        """P1 and P2."""
        total, reserve = self.owed()
        assert self.held() == total
        assert self.number("reserved") == reserve
        assert self.number("pool") >= reserve


def make_market(kit: Any, fee_ppm: int = 0) -> Market:
    oracle = kit.deploy(kit.Committee())
    chain = oracle.chain
    accounts = chain.accounts[:8]

    def code(name: str) -> bytes:
        return bytes.fromhex(json.loads((ARTIFACTS / f"{name}.json").read_text())["bytecode"][2:])

    token = chain.deploy(code("Token") + abi.encode_words(fee_ppm, 0))
    numbers = (
        int.from_bytes(oracle.address),
        0,
        DELAY_MS,
        PATIENCE_MS,
        CONFIDENCE_MAX_PPM,
        int.from_bytes(token),
        6,
        int.from_bytes(accounts[1].address),
        MAX_AGE_S,
        100_000,
        50_000,
        5_000,
        PROFIT_CAP,
        SMALL,
        10 * DOLLAR,
        FEE,
    )
    market = Market(
        kit,
        oracle,
        token,
        chain.deploy(code("Perpetual") + abi.encode_words(*numbers)),
        kit.Branch(oracle.committee),
        accounts=accounts,
    )
    for who in accounts[1:]:
        amount = 1_000_000 * DOLLAR
        mint = keccak(b"mint(address,uint256)")[:4] + account(who) + abi.encode_word(amount)
        assert chain.transact(token, mint).succeeded
        market.done(who, "deposit", amount)
    market.done(market.backer, "fund", market.balance(market.backer))
    return market


@pytest.fixture
def market(kit: Any) -> Market:
    made = make_market(kit)
    yield made
    made.check()


@pytest.fixture(scope="session")
def perpetual() -> Any:
    """What tests build their cases from."""
    return SimpleNamespace(
        make_market=make_market,
        encode=encode,
        updates=updates,
        account=account,
        ARTIFACTS=ARTIFACTS,
        BITCOIN=BITCOIN,
        DOLLAR=DOLLAR,
        UNIT=UNIT,
        FEE=FEE,
        SMALL=SMALL,
        MAX_AGE_S=MAX_AGE_S,
        NO_LIMIT=NO_LIMIT,
        PROFIT_CAP=PROFIT_CAP,
        client=client,
    )
