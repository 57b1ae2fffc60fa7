"""The native precompiles against the pure Python ones of py-evm: same output, gas and refusals."""

from types import SimpleNamespace
from typing import Any

import py_arkworks_bls12381 as arkworks
import pytest
from eth.exceptions import VMError
from eth.vm.forks.prague.computation import PragueComputation

from testnet.chain.precompiles import FIELD_MODULUS, PRECOMPILES

REFERENCE = PragueComputation.get_precompiles()
G1_ADD, G1_MSM, G2_ADD, G2_MSM, PAIRING, MAP_G1, MAP_G2 = (
    number.to_bytes(20, "big") for number in range(0x0B, 0x12)
)
MODULUS = FIELD_MODULUS.to_bytes(64, "big")


class Computation:
    """As much of a computation as a precompile sees."""

    def __init__(self, data: bytes) -> None:
        self.msg = SimpleNamespace(data=data)
        self.output = b""
        self.gas = 0

    def consume_gas(self, amount: int, reason: str) -> None:
        self.gas += amount


def run(precompile: Any, data: bytes) -> tuple[bytes, int] | None:
    computation = Computation(data)
    try:
        precompile(computation)
    except VMError:
        return None
    return computation.output, computation.gas


def agree(address: bytes, data: bytes) -> tuple[bytes, int] | None:
    ours, theirs = run(PRECOMPILES[address], data), run(REFERENCE[address], data)
    assert ours == theirs
    return ours


def pad(xy: bytes) -> bytes:
    return b"".join(bytes(16) + xy[i : i + 48] for i in range(0, len(xy), 48))


def g1(seed: int) -> bytes:
    return pad((arkworks.G1Point() * arkworks.Scalar(seed)).to_xy_bytes_be())


def g2(seed: int) -> bytes:
    return pad((arkworks.G2Point() * arkworks.Scalar(seed)).to_xy_bytes_be())


def minus(xy: bytes, field_bytes: int) -> bytes:
    half = len(xy) // 2
    assert half == field_bytes
    negated = b""
    for i in range(half, len(xy), 64):
        value = int.from_bytes(xy[i : i + 64], "big")
        negated += ((FIELD_MODULUS - value) % FIELD_MODULUS).to_bytes(64, "big")
    return xy[:half] + negated


INFINITY_G1, INFINITY_G2 = bytes(128), bytes(256)
# On the curve y² = x³ + 4, x = 4, but outside the subgroup of prime order.
OFF_SUBGROUP_G1 = (4).to_bytes(64, "big") + pow(
    68, (FIELD_MODULUS + 1) // 4, FIELD_MODULUS
).to_bytes(64, "big")


def off_subgroup_g2() -> bytes:
    for x in range(1, 50):
        # On y² = x³ + 4(1 + u) with x = (x, 0): a square root in Fp2 by the complex method.
        a, b, p = (x**3 + 4) % FIELD_MODULUS, 4, FIELD_MODULUS
        norm = pow(a * a + b * b, (p + 1) // 4, p)
        for sign in (norm, p - norm):
            half = (a + sign) * pow(2, -1, p) % p
            y0 = pow(half, (p + 1) // 4, p)
            if y0 and y0 * y0 % p == half:
                y1 = b * pow(2 * y0, -1, p) % p
                if (y0 * y0 - y1 * y1 - a) % p == 0:
                    fields = (x, 0, y0, y1)
                    return b"".join(field.to_bytes(64, "big") for field in fields)
    raise AssertionError("no such point")


OFF_SUBGROUP_G2 = off_subgroup_g2()


def scalar(value: int) -> bytes:
    return value.to_bytes(32, "big")


@pytest.mark.parametrize(
    ("address", "data"),
    [
        (G1_ADD, g1(3) + g1(5)),
        (G1_ADD, g1(3) + g1(3)),
        (G1_ADD, g1(3) + minus(g1(3), 64)),
        (G1_ADD, INFINITY_G1 + g1(7)),
        (G1_ADD, OFF_SUBGROUP_G1 + g1(7)),
        (G2_ADD, g2(3) + g2(5)),
        (G2_ADD, g2(3) + g2(3)),
        (G2_ADD, g2(9) + INFINITY_G2),
        (G2_ADD, OFF_SUBGROUP_G2 + g2(7)),
        (G1_MSM, g1(3) + scalar(11)),
        (G1_MSM, g1(3) + scalar(11) + g1(4) + scalar(2**256 - 1)),
        (G1_MSM, INFINITY_G1 + scalar(11)),
        (G2_MSM, g2(3) + scalar(11)),
        (G2_MSM, g2(3) + scalar(0) + g2(4) + scalar(77)),
        (MAP_G1, (12345).to_bytes(64, "big")),
        (MAP_G1, bytes(64)),
        (MAP_G2, (12345).to_bytes(64, "big") + (678).to_bytes(64, "big")),
        (PAIRING, INFINITY_G1 + g2(5)),
    ],
    ids=lambda value: value.hex()[-2:] if len(value) == 20 else f"{len(value)} bytes",
)
def test_valid_input_gives_the_reference_output_and_gas(address: bytes, data: bytes) -> None:
    assert agree(address, data) is not None


@pytest.mark.parametrize(
    ("address", "data"),
    [
        *((address, b"") for address in PRECOMPILES),
        (G1_ADD, g1(3) + g1(5) + b"\0"),
        (G1_ADD, g1(3)),
        (G1_ADD, MODULUS + g1(3)[64:] + g1(5)),
        (G1_ADD, b"\1" + g1(3)[1:] + g1(5)),
        (G1_ADD, g1(3)[:127] + b"\0" + g1(5)),
        (G1_MSM, OFF_SUBGROUP_G1 + scalar(1)),
        (G1_MSM, g1(3) + scalar(1)[:31]),
        (G2_ADD, g2(3) + g2(5)[:255] + b"\1"),
        (G2_MSM, OFF_SUBGROUP_G2 + scalar(1)),
        (PAIRING, OFF_SUBGROUP_G1 + g2(3)),
        (PAIRING, g1(3) + OFF_SUBGROUP_G2),
        (PAIRING, g1(3) + g2(3) + b"\0"),
        (MAP_G1, MODULUS),
        (MAP_G1, bytes(63)),
        (MAP_G2, MODULUS + bytes(64)),
    ],
    ids=lambda value: value.hex()[-2:] if len(value) == 20 else f"{len(value)} bytes",
)
def test_invalid_input_is_refused_as_by_the_reference(address: bytes, data: bytes) -> None:
    assert agree(address, data) is None


def test_a_pairing_check_tells_true_from_false() -> None:
    negated = minus(g1(6), 64)
    assert run(PRECOMPILES[PAIRING], g1(2) + g2(3) + negated + g2(1)) == (
        (1).to_bytes(32, "big"),
        37_700 + 2 * 32_600,
    )
    wrong = run(PRECOMPILES[PAIRING], g1(2) + g2(4) + negated + g2(1))
    assert wrong is not None
    assert wrong[0] == bytes(32)


@pytest.mark.slow
def test_a_pairing_check_is_the_references() -> None:
    negated = minus(g1(6), 64)
    assert agree(PAIRING, g1(2) + g2(3) + negated + g2(1)) is not None
    assert agree(PAIRING, g1(2) + g2(4) + negated + g2(1)) is not None
