"""hash_to_curve of RFC 9380 in the contract against blspy, and the arithmetic below it."""

from typing import Any

from blspy import AugSchemeMPL, PopSchemeMPL, PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.points import FIELD_MODULUS, decompress_g1, decompress_g2

P = FIELD_MODULUS
# A signature of the key 1 is the hash itself.
ONE = PrivateKey.from_bytes((1).to_bytes(32, "big"))
MESSAGES = [bytes(32), b"\xff" * 32, *(bytes([i]) * 31 + b"\x01" for i in range(1, 30))]


def padded(point: bytes) -> bytes:
    return b"".join(bytes(16) + point[i : i + 48] for i in range(0, len(point), 48))


def test_messages_are_hashed_as_blspy_does(harness: Any) -> None:
    for message in MESSAGES:
        expected = decompress_g2(bytes(PopSchemeMPL.sign(ONE, message)))
        assert harness.raw("message(bytes32)", message) == padded(expected)


def test_keys_are_hashed_as_blspy_does(harness: Any) -> None:
    """A proof of possession by sk is sk · H(key), so H(key) = proof / sk."""
    order = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
    signs = set()
    for seed in range(12):
        key = AugSchemeMPL.key_gen(bytes([seed]) * 32)
        compressed = bytes(key.get_g1())
        signs.add(compressed[0] & 0x20)
        inverse = PrivateKey.from_bytes(
            pow(int.from_bytes(bytes(key), "big"), -1, order).to_bytes(32, "big")
        )
        proof = PopSchemeMPL.pop_prove(key)
        hashed = decompress_g2(bytes(scaled(proof, inverse)))
        assert harness.raw("key(uint256[4])", decompress_g1(compressed)) == padded(hashed)
    assert signs == {0, 0x20}, "both signs of y were met"


def scaled(point: Any, scalar: PrivateKey) -> Any:
    import py_arkworks_bls12381 as arkworks
    from blspy import G2Element

    g2 = arkworks.G2Point.from_compressed_bytes(bytes(point))
    product = g2 * arkworks.Scalar.from_be_bytes_mod_order(bytes(scalar))
    return G2Element.from_bytes(bytes(product.to_compressed_bytes()))


def reduced(harness: Any, number: int) -> int:
    return int.from_bytes(harness.raw("reduce(uint256,uint256)", number.to_bytes(64, "big")), "big")


def test_reduction_at_its_edges(harness: Any) -> None:
    top = 2**512 - 1
    numbers = {0, 1, P - 1, P, P + 1, 2 * P - 1, 2 * P, 2 * P + 1, 2**256 - 1, 2**256, top}
    for multiple in (63, 64, 2**64, 2**100, 2**131, top // P - 1, top // P):
        numbers |= {multiple * P - 1, multiple * P, multiple * P + 1, multiple * P + P - 1}
    for bits in range(250, 512, 13):
        numbers |= {2**bits - 1, 2**bits, (2**bits - 1) << (512 - bits)}
    for number in sorted(number for number in numbers if number <= top):
        assert reduced(harness, number) == number % P, hex(number)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**512 - 1), st.integers(0, 2**131), st.integers(-3, 3))
def test_reduction_of_any_number(harness: Any, number: int, multiple: int, near: int) -> None:
    for candidate in (number, multiple * P + near):
        if 0 <= candidate < 2**512:
            assert reduced(harness, candidate) == candidate % P
