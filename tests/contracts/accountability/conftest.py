"""An Oracle, the stakes of its members, and evidence by the consensus code with their keys."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from blspy import PopSchemeMPL

from consensus.committee import (
    EpochContext,
    bitmap_of,
)
from consensus.digests import keccak, timeout_digest
from consensus.evidence import (
    Evidence,
    SignedTimeout,
    SignedVote,
    two_votes,
)
from consensus.messages import Header, Link, TimeoutGroup
from contracts import accountability
from contracts.accountability import Convicted, Stake
from testnet.chain.evm import Account, Receipt, account_of

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
ETHER = 10**18
SHARE_PPM = 100_000
COIN = bytes(20)


def operator(index: int) -> Account:
    return account_of(keccak(b"operator %d" % index))


@dataclass
class Court:
    """An Oracle whose members' operators have keys, and what is at stake beside it."""

    oracle: Any
    address: bytes
    token: bytes = COIN

    @property
    def committee(self) -> Any:
        return self.oracle.committee

    def send(self, data: bytes, sender: Account | None = None, value: int = 0) -> Receipt:
        receipt: Receipt = self.oracle.chain.transact(
            self.address, data, sender=sender, value=value, gas=2**24
        )
        return receipt

    def deposit(self, member: int, amount: int, **changes: Any) -> Receipt:
        record = replace(self.committee.members[member], **changes)
        value = amount if self.token == COIN else 0
        data = accountability.encode_deposit(record, amount)
        return self.send(data, operator(member), value)

    def key(self, member: int) -> bytes:
        return accountability.key_name(self.committee.members[member].bls_key)

    def stake(self, member: int) -> Stake:
        data = accountability.encode_stakes(self.key(member))
        return accountability.decode_stake(self.oracle.chain.call(self.address, data))

    def burnt(self) -> int:
        return self.number("burnt()")

    def number(self, signature: str) -> int:
        return int.from_bytes(self.oracle.chain.call(self.address, keccak(signature.encode())[:4]))

    def report(self, evidence: Evidence, epoch: int = 0) -> Receipt:
        return self.send(accountability.encode_report(epoch, evidence), account_of(b"\x01" * 32))

    def operator(self, index: int) -> Account:
        return operator(index)

    def error(self, receipt: Receipt) -> str:
        assert not receipt.succeeded
        return str(accountability.decode_error(receipt.output))

    def convictions(self, receipt: Receipt) -> list[Convicted]:
        assert receipt.succeeded, accountability.decode_error(receipt.output)
        found = [
            accountability.decode_convicted(list(log.topics), log.data) for log in receipt.logs
        ]
        return [one for one in found if one is not None]

    def sign(self, digests: Iterable[tuple[int, bytes]]) -> bytes:
        keys = self.committee.keys
        return bytes(PopSchemeMPL.aggregate([PopSchemeMPL.sign(keys[i], d) for i, d in digests]))

    @property
    def context(self) -> EpochContext:
        """The epoch, as the consensus code knows it."""
        committee = self.committee
        return EpochContext(
            committee.network, committee.epoch, committee.configuration, bytes(32), 0
        )

    def vote(self, members: Iterable[int], mark: int = 1, view: int = 9, parent: int = 8) -> Any:
        link = Link(bytes([mark]) * 32, parent, 5, bytes(32), bytes(32))
        header = Header(view, 1_700_000_000_000 + mark, bytes([mark]) * 32, link.digest)
        digest = header.id(self.committee.domain)
        signers = sorted(members)
        signed = SignedVote(header, bitmap_of(signers), self.sign([(i, digest) for i in signers]))
        return signed, link

    def timeout(self, reported: dict[int, int], view: int = 9) -> SignedTimeout:
        domain = self.committee.domain
        groups = tuple(
            TimeoutGroup(high, bitmap_of([i for i in sorted(reported) if reported[i] == high]))
            for high in sorted(set(reported.values()))
        )
        digests = [(i, timeout_digest(domain, view, high)) for i, high in reported.items()]
        return SignedTimeout(view, groups, self.sign(digests))

    def double_vote(self, one: Iterable[int], other: Iterable[int], view: int = 9) -> Evidence:
        votes = [self.vote(members, mark, view)[0] for mark, members in ((1, one), (2, other))]
        return two_votes(self.context, *votes)


def artifact(name: str) -> bytes:
    return bytes.fromhex(json.loads((ARTIFACTS / f"{name}.json").read_text())["bytecode"][2:])


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def make_court(
    kit: Any,
    token: bytes | None = COIN,
    fee_ppm: int = 0,
    silent: bool = False,
    name: str = "testnet",
) -> Court:
    class Operated(kit.Committee):  # type: ignore[misc]
        @property
        def members(self) -> Any:
            made = kit.Committee.members.func(self)
            return tuple(
                replace(member, operator=operator(i).address)
                for i, member in zip(self._numbers, made, strict=True)
            )

    oracle = kit.deploy(Operated(name=name))
    chain = oracle.chain
    for index in range(6):
        pay = chain.transact(operator(index).address, value=100 * ETHER)
        assert pay.succeeded
    chain.transact(account_of(b"\x01" * 32).address, value=10 * ETHER)
    if token is None:
        token = chain.deploy(artifact("Token") + word(fee_ppm) + word(silent))
        for index in range(6):
            mint = keccak(b"mint(address,uint256)")[:4] + bytes(12) + operator(index).address
            assert chain.transact(token, mint + word(100 * ETHER)).succeeded
    code = accountability.encode_deploy(oracle.address, token, SHARE_PPM)
    return Court(oracle, chain.deploy(code), token)


@pytest.fixture(scope="session")
def new_court(kit: Any) -> Callable[..., Court]:
    """Make a court: with another token, for another network, or beside a given Oracle."""
    return partial(make_court, kit)


@pytest.fixture(scope="session")
def beside() -> type[Court]:
    """A court of an Oracle that is there."""
    return Court


@pytest.fixture
def court(kit: Any) -> Court:
    return make_court(kit)
