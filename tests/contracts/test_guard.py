"""A second look at jumps, before a price is served (G1-G5)."""

import json
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import contracts
from consensus.digests import keccak
from contracts import abi, client
from testnet.chain.evm import Receipt, Reverted

ARTIFACTS = Path(contracts.__file__).parent / "artifacts"
FLOOR_PPM = 10_000
RATE_PPM = 2_000
PARAMETERS: dict[str, int] = {
    "feed": 0,
    "max_age_s": 60,
    "max_confidence_ppm": 5_000,
    "floor_ppm": FLOOR_PPM,
    "rate_ppm": RATE_PPM,
    "confirm_after": 2_000,
    "confirm_within": 30_000,
    "shadow": 0,
}


def creation_code(oracle: bytes, **changes: int) -> bytes:
    code = json.loads((ARTIFACTS / "Guard.json").read_text())["bytecode"][2:]
    values = (PARAMETERS | changes).values()
    return bytes.fromhex(code) + abi.encode_words(int.from_bytes(oracle), *values)


@dataclass
class Guarded:
    """A guard, and reports pushed under it at whole seconds of a clock that starts at 0."""

    oracle: Any
    address: bytes
    kit: Any
    start_s: int
    view: int = 0

    def push(self, price: int, at_s: int, status: int = 1, confidence: int = 0x640) -> None:
        self.view += 1
        word = self.kit.word_of(self.kit.answer(price, confidence, status))
        at_ms = (self.start_s + at_s) * 1000
        report = self.oracle.committee.report([word], at_ms, self.view)
        self.oracle.chain.set_timestamp(max(at_ms // 1000, self.oracle.chain.head.timestamp + 1))
        receipt = self.oracle.push(report)
        assert receipt.succeeded, client.describe_error(receipt.output)

    def poke(self) -> tuple[bool, list[str], Receipt]:
        """Return whether the price is served, and the events."""
        data = abi.encode_call("Guard", "poke")
        receipt = self.oracle.chain.transact(self.address, data)
        assert receipt.succeeded
        names = {abi.topic("Guard", name): name for name in ("Tripped", "Confirmed")}
        events = [names[log.topics[0]] for log in receipt.logs]
        return bool(receipt.output[-1]), events, receipt

    def see(self, price: int, at_s: int, **answer: int) -> tuple[bool, list[str]]:
        self.push(price, at_s, **answer)
        served, events, _ = self.poke()
        # G1: `read` serves exactly what a poke says that it serves.
        assert (self.read() == price) is served
        return served, events

    def read(self) -> int | str:
        try:
            output = self.oracle.chain.call(self.address, abi.encode_call("Guard", "read"))
        except Reverted as reverted:
            error = abi.decode_error("Guard", reverted.data) or client.decode_error(reverted.data)
            assert error is not None
            return error.name
        return int.from_bytes(output[:32], "big")


def guarded(oracle: Any, kit: Any, **changes: int) -> Guarded:
    address = oracle.chain.deploy(creation_code(oracle.address, **changes))
    return Guarded(oracle, address, kit, oracle.chain.head.timestamp + 10)


@pytest.fixture
def guard(oracle: Any, kit: Any) -> Guarded:
    """A guard that has accepted 1,000,000 at second 2."""
    made = guarded(oracle, kit)
    # The very first price is a jump too: nothing is known that it could be near.
    assert made.see(1_000_000, 0) == (False, ["Tripped"])
    assert made.see(1_000_000, 2) == (True, ["Confirmed"])
    return made


def test_g1_a_price_within_the_bound_is_served_at_once(guard: Guarded) -> None:
    # One per cent, and 2000 ppm times the root of 4 seconds.
    assert guard.see(1_014_000, 6) == (True, [])
    assert guard.see(1_000_000, 10) == (True, [])


def test_g1_a_price_beyond_the_bound_waits_for_a_second_report(guard: Guarded) -> None:
    assert guard.see(1_014_001, 6) == (False, ["Tripped"])
    assert guard.read() == "Unconfirmed"
    # Looking again at the same report confirms nothing, nor does one that comes too soon.
    assert guard.poke()[:2] == (False, [])
    assert guard.see(1_014_000 + 6_000, 7) == (False, [])
    assert guard.see(1_014_000 + 6_000, 8) == (True, ["Confirmed"])
    assert guard.see(1_014_000, 9) == (True, [])


def test_g1_the_bound_grows_with_the_root_of_time(guard: Guarded) -> None:
    assert guard.see(1_030_000, 102) == (True, [])
    # From second 102: one per cent, and the root of 400 s times 2000 ppm are five.
    assert guard.see(round(1_030_000 * 1.0501), 502) == (False, ["Tripped"])


def test_g1_a_confirmation_may_come_too_late(guard: Guarded) -> None:
    assert guard.see(1_500_000, 6) == (False, ["Tripped"])
    # Thirty seconds later it is a jump of its own again.
    assert guard.see(1_500_000, 37) == (False, ["Tripped"])
    assert guard.see(1_500_000, 40) == (True, ["Confirmed"])


def test_read_serves_what_confirms_before_anybody_pokes(guard: Guarded) -> None:
    guard.see(1_500_000, 6)
    guard.push(1_500_100, 9)
    assert guard.read() == 1_500_100
    assert guard.poke()[:2] == (True, ["Confirmed"])
    assert guard.read() == 1_500_100


@pytest.mark.parametrize(
    "price",
    [
        pytest.param(3_000_000, id="bZx 2020"),
        pytest.param(1_300_000, id="Compound DAI 2020"),
        pytest.param(94_600, id="Pyth BTC 2021"),
        pytest.param(50_000_000, id="Inverse 2022"),
        pytest.param(650_000, id="USDe 2025"),
    ],
)
def test_a_flash_that_goes_back_is_never_served(guard: Guarded, price: int) -> None:
    """A thin or faulty venue: one price far off a million, gone with the next report."""
    assert guard.see(price, 3) == (False, ["Tripped"])
    assert guard.read() == "Unconfirmed"
    assert guard.see(1_001_000, 4) == (True, [])
    # What tripped is forgotten: it confirms no later flash.
    assert guard.see(price, 6) == (False, ["Tripped"])
    assert guard.see(1_000_000, 7) == (True, [])


def test_a_jump_on_a_jump_waits_anew(guard: Guarded) -> None:
    assert guard.see(1_500_000, 6) == (False, ["Tripped"])
    assert guard.see(2_000_000, 9) == (False, ["Tripped"])
    assert guard.see(1_500_000, 12) == (False, ["Tripped"])
    assert guard.see(1_500_000, 15) == (True, ["Confirmed"])


def test_a_carried_answer_confirms_nothing(guard: Guarded) -> None:
    """It repeats its parent's price: a glitch would confirm itself."""
    assert guard.see(1_500_000, 6) == (False, ["Tripped"])
    assert guard.see(1_500_000, 9, status=2) == (False, [])
    assert guard.see(1_500_000, 10, status=3) == (True, ["Confirmed"])


def test_a_carried_answer_does_not_make_the_accepted_price_younger(guard: Guarded) -> None:
    assert guard.see(1_000_000, 102, status=2) == (True, [])
    assert guard.see(1_029_000, 103) == (True, [])


def test_g2_what_the_oracle_refuses_is_refused(guard: Guarded) -> None:
    for at_s, status, confidence, reason in (
        (6, 4, 0x640, "Halted"),
        (7, 0, 0x640, "Unavailable"),
        (8, 1, 0xFFF, "Uncertain"),
    ):
        guard.push(1_000_000, at_s, status, confidence)
        assert guard.poke()[:2] == (False, [])
        assert guard.read() == reason
    guard.push(1_000_000, 9)
    guard.oracle.chain.mine(timestamp=guard.start_s + 70)
    assert guard.poke()[:2] == (False, [])
    assert guard.read() == "Stale"


def test_aave_capo_2026_in_shadow_it_logs_and_blocks_nothing(oracle: Any, kit: Any) -> None:
    """A guard that misfires costs money: run it in shadow, look at its trips, then replace it by
    one that blocks. No parameter of it can change, so none can change without the others (G4)."""
    made = guarded(oracle, kit, shadow=1)
    assert made.see(1_000_000, 0) == (True, ["Tripped"])
    assert made.see(1_000_000, 2) == (True, ["Confirmed"])
    assert made.see(1_500_000, 6) == (True, ["Tripped"])
    assert made.see(1_500_000, 9) == (True, ["Confirmed"])
    made.push(1_500_000, 10, status=4)
    assert made.read() == "Halted"
    writes = [
        entry["name"]
        for entry in abi.artifact("Guard")["abi"]
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    ]
    assert writes == ["poke"]


def test_mango_2022_a_pump_is_not_served_until_it_lasts(guard: Guarded) -> None:
    for step, price in enumerate((1_300_000, 1_900_000, 3_000_000, 5_000_000)):
        assert guard.see(price, 6 + 3 * step) == (False, ["Tripped"])
    assert guard.read() == "Unconfirmed"


@pytest.mark.parametrize(
    "changes",
    [{"floor_ppm": 0}, {"confirm_after": 0}, {"confirm_within": 1_999}, {"feed": 4}],
    ids=str,
)
def test_g4_unsound_parameters_are_refused(oracle: Any, changes: dict[str, int]) -> None:
    with pytest.raises(Reverted) as reverted:
        oracle.chain.deploy(creation_code(oracle.address, **changes))
    assert reverted.value.data == keccak(b"UnsoundParameters()")[:4]


def test_what_it_costs(guard: Guarded) -> None:
    guard.push(1_001_000, 6)
    print(f"poke, within the bound: {guard.poke()[2].gas_used:,} gas")
    guard.push(1_501_000, 7)
    print(f"poke, a trip: {guard.poke()[2].gas_used:,} gas")


@pytest.fixture(scope="module")
def measured(kit: Any) -> Any:
    oracle = kit.deploy(kit.Committee())
    made: list[tuple[int, bytes]] = []
    for rate in (0, 1, 2_000, 2**32 - 1):
        code = creation_code(oracle.address, rate_ppm=rate)
        made.append((rate, oracle.chain.deploy(code)))
    return oracle, made


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**48), st.integers(0, 2**42), st.integers(0, 3))
def test_the_bound_is_rounded_down(measured: Any, start: int, elapsed: int, which: int) -> None:
    oracle, guards = measured
    rate, address = guards[which]
    data = abi.encode_call("Guard", "boundPpm", 1, start, 1, start + elapsed)
    bound = int.from_bytes(oracle.chain.call(address, data), "big")
    assert bound == FLOOR_PPM + isqrt(rate * rate * elapsed // 1000)
    back = abi.encode_call("Guard", "boundPpm", 1, start + elapsed, 1, start)
    assert int.from_bytes(oracle.chain.call(address, back), "big") == FLOOR_PPM


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from([900_000, 1_000_000, 1_020_000, 3_000_000])),
        min_size=1,
        max_size=12,
    )
)
def test_g5_a_level_that_two_reports_agree_on_is_accepted(
    measured: Any, kit: Any, steps: list[tuple[int, int]]
) -> None:
    """Whatever came before, so no price is refused for good; a model of G1 agrees all the way."""
    made = guarded(measured[0], kit)
    made.view = made.oracle.chain.head.timestamp
    at = 0
    accepted: tuple[int, int] | None = None
    jumped: tuple[int, int] | None = None

    def within(base: tuple[int, int] | None, price: int, at_s: int) -> bool:
        if base is None:
            return False
        bound = FLOOR_PPM + isqrt(RATE_PPM**2 * (at_s - base[1]))
        return abs(price - base[0]) * 10**6 <= base[0] * bound

    for later, price in steps:
        at += later
        served, _ = made.see(price, at)
        confirmed = jumped and 2 <= at - jumped[1] <= 30 and within(jumped, price, at)
        if confirmed or within(accepted, price, at):
            assert served
            accepted, jumped = (price, at), None
        else:
            assert not served
            waits = jumped and at - jumped[1] < 2 and within(jumped, price, at)
            jumped = jumped if waits else (price, at)
    served, _ = made.see(5_000_000, at + 40)
    assert made.see(5_000_000, at + 43)[0]
