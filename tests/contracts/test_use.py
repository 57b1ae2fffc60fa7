"""Settling atomically: one price a feed in a transaction, whatever comes (O6, O13)."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi import decode, encode

from consensus.digests import keccak
from contracts import client

ARTIFACT = Path(__file__).parent / "artifacts" / "Batch.json"


def report(oracle: Any, kit: Any, step: int, **changes: Any) -> Any:
    words = [kit.word_of(*(kit.answer(1000 * step + i, **changes) for i in range(4)))]
    return oracle.committee.report(words, kit.NOW_MS + 250 * step, 100 + step)


def batch(oracle: Any, *calls: bytes) -> list[bytes]:
    """Make calls in one transaction; return what each returned."""
    code = bytes.fromhex(json.loads(ARTIFACT.read_text())["bytecode"][2:])
    address = oracle.chain.deploy(code)
    data = keccak(b"run(address,bytes[])")[:4]
    data += encode(["address", "bytes[]"], ["0x" + oracle.address.hex(), list(calls)])
    receipt = oracle.chain.transact(address, data, gas=2**24)
    assert receipt.succeeded, client.describe_error(receipt.output)
    (outputs,) = decode(["bytes[]"], receipt.output)
    return list(outputs)


def using(*updates: client.Update, feeds: tuple[int, ...] = (0,)) -> bytes:
    return client.encode_use(updates, feeds, 60, 10_000)


def test_a_use_verifies_and_returns_prices(oracle: Any, kit: Any) -> None:
    fresh = report(oracle, kit, 1)
    receipt = oracle.send(using(fresh.update(0, 3), feeds=(3, 0)))
    assert receipt.succeeded
    time = fresh.header.observed_at_ms
    assert client.decode_use(receipt.output) == [(1003, time), (1000, time)]
    assert oracle.latest(0).price == 1000


def test_a_use_of_what_is_stored_needs_no_report(oracle: Any, kit: Any) -> None:
    assert oracle.push(report(oracle, kit, 2)).succeeded
    receipt = oracle.send(using(feeds=(1,)))
    assert client.decode_use(receipt.output) == [(2001, kit.NOW_MS + 500)]
    # An older report brings the newer answer.
    receipt = oracle.send(using(report(oracle, kit, 1).update(1), feeds=(1,)))
    assert client.decode_use(receipt.output) == [(2001, kit.NOW_MS + 500)]


def test_a_use_is_a_safe_read(oracle: Any, kit: Any) -> None:
    def refused(*updates: client.Update, age: int = 60, feed: int = 0) -> str:
        receipt = oracle.send(client.encode_use(updates, (feed,), age, 10_000))
        assert not receipt.succeeded
        return str(client.decode_error(receipt.output))

    assert refused() == "Unavailable(feed=0, status=0)"
    assert refused(feed=4) == "UnknownFeed(feed=4, feeds=4)"
    halted = report(oracle, kit, 1, status=4)
    assert refused(halted.update(0)) == "Halted(feed=0)"
    vague = report(oracle, kit, 1, confidence=0xFFF)
    assert refused(vague.update(0)).startswith("Uncertain(feed=0")
    assert refused(report(oracle, kit, 1).update(0), age=0).startswith("Stale(feed=0")
    assert oracle.latest(0).price == 0


def test_no_second_price_in_a_transaction(oracle: Any, kit: Any) -> None:
    first, second, third = (report(oracle, kit, step) for step in (1, 2, 3))
    assert oracle.push(report(oracle, kit, 0)).succeeded
    outputs = batch(
        oracle,
        using(first.update(0)),
        using(second.update(0)),
        using(),
        third.calldata,
        using(),
        client.encode_read(0, 60, 10_000),
        client.encode_try_read(0, 60, 10_000),
        client.encode_latest(0),
        # Another feed was not used yet.
        client.encode_read(2, 60, 10_000),
    )
    price = (1000, kit.NOW_MS + 250)
    for output in (*outputs[:3], outputs[4]):
        assert client.decode_use(output) == [price]
    assert client.decode_stored_flag(outputs[3])
    assert client.decode_read(outputs[5]) == price
    reason, answer = client.decode_try_read(outputs[6])
    assert (reason, answer.price, answer.observed_at_ms) == (client.Reason.NONE, *price)
    assert client.decode_latest(outputs[7]).price == 1000
    assert client.decode_read(outputs[8]) == (3002, kit.NOW_MS + 750)
    # The next transaction sees what was stored meanwhile.
    assert oracle.latest(0).price == 3000
    assert client.decode_use(oracle.send(using()).output) == [(3000, kit.NOW_MS + 750)]


def test_a_use_after_a_push_in_the_same_transaction_gets_the_push(oracle: Any, kit: Any) -> None:
    outputs = batch(oracle, report(oracle, kit, 1).calldata, using(), using(feeds=(1,)))
    assert client.decode_use(outputs[1]) == [(1000, kit.NOW_MS + 250)]
    assert client.decode_use(outputs[2]) == [(1001, kit.NOW_MS + 250)]


def test_a_neighbour_is_not_settled_with_the_feed(oracle: Any, kit: Any) -> None:
    outputs = batch(
        oracle,
        using(report(oracle, kit, 1).update(0)),
        using(report(oracle, kit, 2).update(1), feeds=(0, 1)),
    )
    assert client.decode_use(outputs[1]) == [(1000, kit.NOW_MS + 250), (2001, kit.NOW_MS + 500)]


@pytest.mark.parametrize("ways", [("push", "use"), ("post", "prove"), ("update", "push")])
def test_time_never_goes_back(oracle: Any, kit: Any, ways: tuple[str, str]) -> None:
    """O3: whatever way a newer answer came, no way brings an older one."""
    newer, older = report(oracle, kit, 5), report(oracle, kit, 4)
    for way, given in ((ways[0], newer), (ways[1], newer), (ways[0], older), (ways[1], older)):
        calls = {
            "push": given.calldata,
            "post": client.encode_post(given.certificate),
            "prove": client.encode_prove(
                given.header.observed_at_ms, client.claim_of(0, given.words)
            ),
            "update": client.encode_update([given.update(0)]),
            "use": using(given.update(0)),
        }
        oracle.send(calls[way])
        assert oracle.latest(0).price in (0, 5000)
    assert oracle.latest(0).price == 5000
