"""The BLS12-381 precompiles of EIP-2537, with their arithmetic done natively by arkworks.

py-evm's own ones are pure Python: a pairing check takes 1.7 s there and 3 ms here. Outputs, gas and
input checks are those of the EIP: additions take points outside the prime-order subgroup,
multiplications and pairings do not, and any invalid input burns all gas that the call was given
(py-evm does that for every `VMError` other than a revert).
"""

from collections.abc import Callable
from typing import Any

import py_arkworks_bls12381 as arkworks
from eth.exceptions import VMError
from eth.precompiles.bls12_381 import constants as gas_table
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState

FIELD_MODULUS = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf"
    "6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)
_MODULUS_BYTES = FIELD_MODULUS.to_bytes(48, "big")
_FIELD_BYTES = 64
_PADDING = bytes(16)
_SCALAR_BYTES = 32
_G1_BYTES = 128
_G2_BYTES = 256
_PAIRING_GAS_BASE = 37_700
_PAIRING_GAS_PER_PAIR = 32_600


def _field(data: bytes) -> bytes:
    if data[:16] != _PADDING or data[16:] >= _MODULUS_BYTES:
        raise VMError("a coordinate is not below the field's modulus")
    return data[16:]


def _coordinates(data: bytes) -> bytes:
    return b"".join(_field(data[i : i + _FIELD_BYTES]) for i in range(0, len(data), _FIELD_BYTES))


def _encoded(point: Any) -> bytes:
    packed: bytes = point.to_xy_bytes_be()
    return b"".join(_PADDING + packed[i : i + 48] for i in range(0, len(packed), 48))


def _point(group: Any, data: bytes, *, in_subgroup: bool) -> Any:
    packed = _coordinates(data)
    if not any(packed):
        return group.identity()
    decode = group.from_xy_bytes_be if in_subgroup else group.from_xy_bytes_unchecked_be
    try:
        return decode(packed)
    except ValueError as error:
        raise VMError(f"not a point of the group: {error}") from error


def _input(computation: Any, length: int, *, repeated: bool = False) -> bytes:
    data = bytes(computation.msg.data)
    valid = bool(data) and len(data) % length == 0 if repeated else len(data) == length
    if not valid:
        multiple = "a multiple of " if repeated else ""
        raise VMError(f"an input of {len(data)} bytes where {multiple}{length} are due")
    return data


def _add(computation: Any, group: Any, point_bytes: int, gas: int) -> None:
    data = _input(computation, 2 * point_bytes)
    computation.consume_gas(gas, reason="EIP-2537 addition")
    left = _point(group, data[:point_bytes], in_subgroup=False)
    right = _point(group, data[point_bytes:], in_subgroup=False)
    computation.output = _encoded(left + right)


def _multiply(
    computation: Any, group: Any, point_bytes: int, gas: int, discounts: list[int], last: int
) -> None:
    pair_bytes = point_bytes + _SCALAR_BYTES
    data = _input(computation, pair_bytes, repeated=True)
    count = len(data) // pair_bytes
    discount = discounts[count - 1] if count <= len(discounts) else last
    computation.consume_gas(
        count * gas * discount // gas_table.MSM_MULTIPLIER, reason="EIP-2537 multiplication"
    )
    points, scalars = [], []
    for start in range(0, len(data), pair_bytes):
        middle = start + point_bytes
        points.append(_point(group, data[start:middle], in_subgroup=True))
        scalar = data[middle : middle + _SCALAR_BYTES]
        scalars.append(arkworks.Scalar.from_be_bytes_mod_order(scalar))
    computation.output = _encoded(group.multiexp_unchecked(points, scalars))


def g1_add(computation: Any) -> None:
    """BLS12_G1ADD at 0x0b."""
    _add(computation, arkworks.G1Point, _G1_BYTES, gas_table.BLS12_G1_ADD_GAS)


def g2_add(computation: Any) -> None:
    """BLS12_G2ADD at 0x0d."""
    _add(computation, arkworks.G2Point, _G2_BYTES, gas_table.BLS12_G2_ADD_GAS)


def g1_multiply(computation: Any) -> None:
    """BLS12_G1MSM at 0x0c."""
    _multiply(
        computation,
        arkworks.G1Point,
        _G1_BYTES,
        gas_table.BLS12_G1_MSM_GAS,
        gas_table.G1_MSM_DISCOUNTS,
        gas_table.G1_MSM_MAX_DISCOUNT,
    )


def g2_multiply(computation: Any) -> None:
    """BLS12_G2MSM at 0x0e."""
    _multiply(
        computation,
        arkworks.G2Point,
        _G2_BYTES,
        gas_table.BLS12_G2_MSM_GAS,
        gas_table.G2_MSM_DISCOUNTS,
        gas_table.G2_MSM_MAX_DISCOUNT,
    )


def pairing_check(computation: Any) -> None:
    """BLS12_PAIRING_CHECK at 0x0f."""
    pair_bytes = _G1_BYTES + _G2_BYTES
    data = _input(computation, pair_bytes, repeated=True)
    count = len(data) // pair_bytes
    computation.consume_gas(
        _PAIRING_GAS_BASE + _PAIRING_GAS_PER_PAIR * count, reason="EIP-2537 pairing"
    )
    left, right = [], []
    for start in range(0, len(data), pair_bytes):
        middle = start + _G1_BYTES
        left.append(_point(arkworks.G1Point, data[start:middle], in_subgroup=True))
        right.append(_point(arkworks.G2Point, data[middle : start + pair_bytes], in_subgroup=True))
    computation.output = int(arkworks.GT.pairing_check(left, right)).to_bytes(32, "big")


def map_to_g1(computation: Any) -> None:
    """BLS12_MAP_FP_TO_G1 at 0x10."""
    data = _input(computation, _FIELD_BYTES)
    computation.consume_gas(gas_table.BLS12_MAP_FP_G1_GAS, reason="EIP-2537 map to G1")
    computation.output = _encoded(arkworks.G1Point.map_from_fp_be(_field(data)))


def map_to_g2(computation: Any) -> None:
    """BLS12_MAP_FP2_TO_G2 at 0x11."""
    data = _input(computation, 2 * _FIELD_BYTES)
    computation.consume_gas(gas_table.BLS12_MAP_FP2_G2_GAS, reason="EIP-2537 map to G2")
    computation.output = _encoded(arkworks.G2Point.map_from_fp2_be(_coordinates(data)))


PRECOMPILES: dict[bytes, Callable[[Any], None]] = {
    number.to_bytes(20, "big"): precompile
    for number, precompile in (
        (0x0B, g1_add),
        (0x0C, g1_multiply),
        (0x0D, g2_add),
        (0x0E, g2_multiply),
        (0x0F, pairing_check),
        (0x10, map_to_g1),
        (0x11, map_to_g2),
    )
}


class NativeComputation(PragueComputation):
    """Prague's computation with the native precompiles."""

    _precompiles = {**PragueComputation.get_precompiles(), **PRECOMPILES}  # noqa: RUF012


class NativeState(PragueState):
    """Prague's state with the native precompiles."""

    computation_class = NativeComputation


class NativeVM(PragueVM):
    """Prague's rules with the native precompiles."""

    _state_class = NativeState
