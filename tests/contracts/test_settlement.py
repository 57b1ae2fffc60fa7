"""Settlement at the first final report after a moment, by whoever brings it (T1-T4)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consensus.digests import keccak
from contracts import abi, settlement
from contracts.settlement import Ended, Outcome, Requested
from testnet.chain.evm import Receipt, Reverted

ARTIFACTS = Path(__file__).parent / "artifacts"
DELAY_MS = 16_000
PATIENCE_MS = 60_000
CONFIDENCE_PPM = 5_000


def creation_code(oracle: bytes, **changes: int) -> bytes:
    terms = {
        "feed": 0,
        "delay": DELAY_MS,
        "patience": PATIENCE_MS,
        "confidence": CONFIDENCE_PPM,
    } | changes
    code = json.loads((ARTIFACTS / "Settled.json").read_text())["bytecode"][2:]
    return bytes.fromhex(code) + abi.encode_words(int.from_bytes(oracle), *terms.values())


@dataclass
class Desk:
    """A contract that settles, and the blocks that the committee makes meanwhile."""

    oracle: Any
    address: bytes
    branch: Any
    kit: Any

    def send(self, data: bytes, **options: Any) -> Receipt:
        receipt: Receipt = self.oracle.chain.transact(self.address, data, **options)
        return receipt

    def request(self) -> Requested:
        receipt = self.send(keccak(b"request()")[:4])
        assert receipt.succeeded
        (log,) = receipt.logs
        requested = settlement.decode_requested(list(log.topics), log.data)
        assert requested is not None
        assert requested.moment_ms == self.oracle.chain.head.timestamp * 1000 + DELAY_MS
        return requested

    def block(self, price: int, at_ms: int, skipped: int = 0, **answer: int) -> None:
        word = self.kit.word_of(self.kit.answer(price, **answer))
        self.branch.add([word], at_ms, skipped)

    def settle(self, request: int, first: int, last: int | None = None) -> Receipt:
        return self.send(settlement.encode_settle(request, *self.branch.proof(first, last)))

    def ended(self, receipt: Receipt) -> Ended:
        assert receipt.succeeded, settlement.decode_error(receipt.output)
        (log,) = receipt.logs
        ended = settlement.decode_ended(list(log.topics), log.data)
        assert ended is not None
        return ended

    def wait_until(self, at_ms: int) -> None:
        self.oracle.chain.set_timestamp(at_ms // 1000)


def error(receipt: Receipt) -> str:
    assert not receipt.succeeded
    return str(settlement.decode_error(receipt.output))


@pytest.fixture
def desk(oracle: Any, kit: Any) -> Desk:
    address = oracle.chain.deploy(creation_code(oracle.address))
    return Desk(oracle, address, kit.Branch(oracle.committee), kit)


def around(desk: Desk, moment_ms: int, **answer: int) -> None:
    """Four blocks: one before the moment, the one that settles, and two after it."""
    for step, price in enumerate((100, 200, 300, 400)):
        desk.block(price, moment_ms - 100 + 250 * step, **answer)


def test_t1_a_request_is_settled_at_the_first_final_report_after_its_moment(desk: Desk) -> None:
    request = desk.request()
    around(desk, request.moment_ms)
    desk.wait_until(request.moment_ms + 2_000)
    receipt = desk.settle(request.id, 2)
    observed = request.moment_ms + 150
    assert desk.ended(receipt) == Ended(request.id, Outcome.SETTLED, 200, observed)
    print(f"settle at the first final report: {receipt.gas_used:,} gas")


def test_a_consumer_picks_the_best_report_of_a_window(desk: Desk) -> None:
    """FIELD: it cannot, neither an earlier nor a later one, whoever it is."""
    request = desk.request()
    around(desk, request.moment_ms)
    desk.wait_until(request.moment_ms + 2_000)
    for first in (1, 3):
        assert error(desk.settle(request.id, first)).startswith("NotFirstAfter(")
    # A certified report that is not final yet is nobody's price either.
    assert error(desk.settle(request.id, 2, 2)) == "NotFinal(blocks=1)"
    assert desk.ended(desk.settle(request.id, 2, 4)).price == 200


def test_t2_the_report_cannot_be_known_at_the_request(oracle: Any, kit: Any) -> None:
    with pytest.raises(Reverted) as reverted:
        oracle.chain.deploy(creation_code(oracle.address, delay=kit.MAX_FUTURE_MS - 1))
    assert str(settlement.decode_error(reverted.value.data)).startswith("Unsound(what=delay")
    for changes in ({"patience": 0}, {"patience": 86_400_001}, {"confidence": 1_000_000}):
        with pytest.raises(Reverted):
            oracle.chain.deploy(creation_code(oracle.address, **changes))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"status": 1, "confidence": 0xFFF}, Outcome.UNCERTAIN),
        ({"status": 2}, Outcome.NOT_LIVE),
        ({"status": 3}, Outcome.NOT_LIVE),
        ({"status": 4}, Outcome.NOT_LIVE),
        ({"status": 0}, Outcome.NOT_LIVE),
        ({"status": 9}, Outcome.NOT_LIVE),
    ],
)
def test_t3_what_is_not_live_and_certain_cancels(
    desk: Desk, answer: dict[str, int], outcome: Outcome
) -> None:
    """Nobody may wait for a better report: the feed comes back 250 ms later, and does not count."""
    request = desk.request()
    desk.block(100, request.moment_ms - 100)
    desk.block(200, request.moment_ms + 150, **answer)
    desk.block(300, request.moment_ms + 400)
    desk.block(400, request.moment_ms + 650)
    desk.wait_until(request.moment_ms + 2_000)
    assert error(desk.settle(request.id, 3)).startswith("NotFirstAfter(")
    assert desk.ended(desk.settle(request.id, 2)).outcome is outcome
    assert error(desk.settle(request.id, 2)) == f"NoRequest(id={request.id})"


def test_t3_a_report_that_comes_too_late_cancels(desk: Desk) -> None:
    request = desk.request()
    desk.block(100, request.moment_ms - 100)
    desk.block(200, request.deadline_ms + 1)
    desk.block(300, request.deadline_ms + 251)
    desk.wait_until(request.deadline_ms)
    assert desk.ended(desk.settle(request.id, 2)).outcome is Outcome.TOO_LATE


def test_t3_until_the_deadline_it_settles_and_after_it_it_expires(desk: Desk) -> None:
    one, other = desk.request(), desk.request()
    around(desk, one.moment_ms)
    desk.wait_until(one.deadline_ms)
    assert error(desk.send(settlement.encode_expire(one.id))).startswith("NotYetExpired(")
    desk.wait_until(one.deadline_ms + 1_000)
    assert error(desk.settle(one.id, 2)).startswith("DeadlinePassed(")
    assert desk.ended(desk.send(settlement.encode_expire(one.id))).outcome is Outcome.EXPIRED
    desk.wait_until(other.deadline_ms + 2_000)
    # T4: each ends once.
    for data in (settlement.encode_expire(one.id), settlement.encode_expire(99)):
        assert error(desk.send(data)).startswith("NoRequest(")


def test_a_claim_of_another_feed_settles_nothing(desk: Desk) -> None:
    from contracts import client

    request = desk.request()
    around(desk, request.moment_ms)
    proof, _ = desk.branch.proof(2)
    claim = client.claim_of(1, desk.branch.words[1])
    assert error(desk.send(settlement.encode_settle(request.id, proof, claim))) == (
        "AnotherFeed(feed=1, expected=0)"
    )
