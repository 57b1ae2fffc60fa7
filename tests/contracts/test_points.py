import pytest
from blspy import AugSchemeMPL, G1Element, G2Element, PopSchemeMPL
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls.point_compression import decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import normalize

from contracts.points import FIELD_MODULUS, compress_g1, decompress_g1, decompress_g2

P = FIELD_MODULUS
# (0, 2) is on G1's curve y² = x³ + 4, but not in its subgroup: it is of order 3.
OUTSIDE_G1 = bytes([0x80]) + bytes(47)


def keys(seed: int) -> tuple[bytes, bytes]:
    key = AugSchemeMPL.key_gen(seed.to_bytes(32, "big"))
    return bytes(key.get_g1()), bytes(PopSchemeMPL.sign(key, seed.to_bytes(8, "big")))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_points_decompress_as_another_implementation_does(seed: int) -> None:
    g1, g2 = keys(seed)
    point = normalize(decompress_G1(int.from_bytes(g1, "big")))
    assert decompress_g1(g1) == b"".join(int(c).to_bytes(64, "big") for c in point[:2])
    halves = (int.from_bytes(g2[:48], "big"), int.from_bytes(g2[48:], "big"))
    x, y = (c for c in normalize(decompress_G2(halves))[:2])
    coordinates = (*x.coeffs, *y.coeffs)
    assert decompress_g2(g2) == b"".join(int(c).to_bytes(48, "big") for c in coordinates)
    assert compress_g1(decompress_g1(g1)) == g1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_the_sign_flag_chooses_the_root(seed: int) -> None:
    g1, g2 = keys(seed)
    for compressed, decompress, width in ((g1, decompress_g1, 64), (g2, decompress_g2, 48)):
        other = decompress(bytes([compressed[0] ^ 0x20]) + compressed[1:])
        point = decompress(compressed)
        half = len(point) // 2
        assert other[:half] == point[:half]
        for i in range(half, len(point), width):
            a = int.from_bytes(point[i : i + width], "big")
            assert int.from_bytes(other[i : i + width], "big") == -a % P


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (bytes(47), "has 48 bytes, not 47"),
        (bytes(48), "not in compressed form"),
        (b"\xc0" + bytes(47), "infinity"),
        (bytes(G1Element()), "infinity"),
        (b"\xe0" + bytes(47), "infinity"),
        ((P | 4 << 381).to_bytes(48, "big"), "not below the field's modulus"),
        (b"\x9f" + b"\xff" * 47, "not below the field's modulus"),
        ((1 | 4 << 381).to_bytes(48, "big"), "not on the curve"),
    ],
)
def test_bad_keys_are_refused(point: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decompress_g1(point)


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (bytes(95), "has 96 bytes, not 95"),
        (bytes(96), "not in compressed form"),
        (bytes(G2Element()), "is the point at infinity"),
        (b"\xff" * 96, "flag of infinity, and coordinates beside"),
        (b"\xc0" + bytes(94) + b"\x01", "flag of infinity, and coordinates beside"),
        ((P | 4 << 381).to_bytes(48, "big") + bytes(48), "not below the field's modulus"),
        (b"\x80" + bytes(47) + P.to_bytes(48, "big"), "not below the field's modulus"),
        (b"\x80" + bytes(94) + b"\x01", "not on the curve"),
    ],
)
def test_bad_signatures_are_refused(point: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decompress_g2(point)


def test_real_and_imaginary_roots_are_found() -> None:
    """Points whose y² is real take the branches that random points do not."""
    # x = (c, 0) makes x³ + 4(1 + i) never real; so the root is tried on its own.
    from contracts.points import _multiply, _root_fp2

    for square in ((4, 0), (P - 4, 0), (2, 0), (P - 2, 0), (0, 0), (0, 2)):
        root = _root_fp2(square)
        if root is not None:
            assert _multiply(root, root) == square
    assert all(_root_fp2((a % P, 0)) is not None for a in (4, -4, 2, -2, 3, -3))


def test_membership_of_the_subgroup_is_left_to_the_chain() -> None:
    assert decompress_g1(OUTSIDE_G1)[-1] == 2
    with pytest.raises(ValueError, match="128 bytes"):
        compress_g1(bytes(127))
    with pytest.raises(ValueError, match="not canonical"):
        compress_g1(b"\x01" + decompress_g1(OUTSIDE_G1)[1:])
