"""Compressed points of BLS12-381 into the coordinates that EVM precompiles take (EIP-2537).

Pure integers. The compressed form is that of blspy and of the Ethereum specifications: big-endian x
with three flags in its uppermost bits, G2's x as c1 | c0. Points are checked to be on their curve
and in canonical form; membership of the prime-order subgroup is left to who verified the signature
(blspy) and to the pairing precompile, both of which check it.
"""

from typing import Final

FIELD_MODULUS: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)
G1_COMPRESSED_BYTES: Final = 48
G2_COMPRESSED_BYTES: Final = 96

_FIELD_BYTES: Final = 48
_COMPRESSED: Final = 0x80
_INFINITY: Final = 0x40
_GREATER: Final = 0x20
_FLAGS: Final = _COMPRESSED | _INFINITY | _GREATER
_HALF: Final = (FIELD_MODULUS - 1) >> 1
# The modulus is 3 modulo 4, so this power of a square is its root.
_ROOT_EXPONENT: Final = (FIELD_MODULUS + 1) >> 2

_Fp2 = tuple[int, int]


def decompress_g1(compressed: bytes) -> bytes:
    """Return a key's 128 bytes, x and y each padded to 64; raise `ValueError` for a bad point."""
    x, greater = _split(compressed, G1_COMPRESSED_BYTES, "G1")
    y = _root((pow(x, 3, FIELD_MODULUS) + 4) % FIELD_MODULUS)
    if y is None:
        raise ValueError("the G1 point is not on the curve")
    if (y > _HALF) != greater:
        y = FIELD_MODULUS - y
    return x.to_bytes(64, "big") + y.to_bytes(64, "big")


def decompress_g2(compressed: bytes) -> bytes:
    """Return a signature's 192 bytes x.c0 | x.c1 | y.c0 | y.c1, 48 each.

    Raises `ValueError` for a bad point.
    """
    x_c1, greater = _split(compressed, G2_COMPRESSED_BYTES, "G2")
    x_c0 = int.from_bytes(compressed[_FIELD_BYTES:], "big")
    if x_c0 >= FIELD_MODULUS:
        raise ValueError("a coordinate of the G2 point is not below the field's modulus")
    x = (x_c0, x_c1)
    cube = _multiply(_multiply(x, x), x)
    y = _root_fp2(((cube[0] + 4) % FIELD_MODULUS, (cube[1] + 4) % FIELD_MODULUS))
    if y is None:
        raise ValueError("the G2 point is not on the curve")
    if ((y[1] or y[0]) > _HALF) != greater:
        y = (-y[0] % FIELD_MODULUS, -y[1] % FIELD_MODULUS)
    return b"".join(number.to_bytes(_FIELD_BYTES, "big") for number in (*x, *y))


def compress_g1(point: bytes) -> bytes:
    """Return the 48 bytes of the wire of a key in the 128 bytes of EIP-2537.

    Raises `ValueError` unless exactly that point decompresses to them.
    """
    if len(point) != 128:
        raise ValueError(f"a G1 point has 128 bytes, not {len(point)}")
    flags = _COMPRESSED | (_GREATER if int.from_bytes(point[64:], "big") > _HALF else 0)
    compressed = bytes([flags | point[16]]) + point[17:64]
    if decompress_g1(compressed) != point:
        raise ValueError("the G1 point is not canonical")
    return compressed


def _split(compressed: bytes, width: int, group: str) -> tuple[int, bool]:
    """Return the first coordinate and whether y is the greater root."""
    if len(compressed) != width:
        raise ValueError(f"a compressed {group} point has {width} bytes, not {len(compressed)}")
    flags = compressed[0] & _FLAGS
    if not flags & _COMPRESSED:
        raise ValueError(f"the {group} point is not in compressed form")
    if flags & _INFINITY:
        if any(compressed[1:]) or compressed[0] != _COMPRESSED | _INFINITY:
            raise ValueError(f"the {group} point has the flag of infinity, and coordinates beside")
        raise ValueError(f"the {group} point is the point at infinity")
    first = bytes([compressed[0] & ~_FLAGS]) + compressed[1:_FIELD_BYTES]
    coordinate = int.from_bytes(first, "big")
    if coordinate >= FIELD_MODULUS:
        raise ValueError(f"a coordinate of the {group} point is not below the field's modulus")
    return coordinate, bool(flags & _GREATER)


def _root(square: int) -> int | None:
    root = pow(square, _ROOT_EXPONENT, FIELD_MODULUS)
    return root if root * root % FIELD_MODULUS == square else None


def _multiply(a: _Fp2, b: _Fp2) -> _Fp2:
    """Multiply in F_p[i], i² = -1."""
    return (
        (a[0] * b[0] - a[1] * b[1]) % FIELD_MODULUS,
        (a[0] * b[1] + a[1] * b[0]) % FIELD_MODULUS,
    )


def _root_fp2(square: _Fp2) -> _Fp2 | None:
    """Return a square root in F_p[i] by the norm (complex method), or None."""
    norm_root = _root((square[0] * square[0] + square[1] * square[1]) % FIELD_MODULUS)
    if norm_root is None:
        return None
    half = pow(2, -1, FIELD_MODULUS)
    for sign in (norm_root, -norm_root):
        c0 = _root((square[0] + sign) * half % FIELD_MODULUS)
        if c0 is None:
            continue
        if c0 == 0:
            # No real part: the square is real and its root imaginary.
            c1 = _root(-square[0] % FIELD_MODULUS)
            if c1 is None:
                continue
        else:
            c1 = square[1] * pow(2 * c0, -1, FIELD_MODULUS) % FIELD_MODULUS
        if _multiply((c0, c1), (c0, c1)) == square:
            return (c0, c1)
    return None
