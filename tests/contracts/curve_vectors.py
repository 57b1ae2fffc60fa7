"""Writes tests/vectors/curve.json by py_ecc, which shares no code with what the contracts run on.

`python tests/contracts/curve_vectors.py`. The points that RFC 9380 gives for its suite
BLS12381G2_XMD:SHA-256_SSWU_RO_ (appendix J.10.1) are written here as the RFC has them.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from py_ecc.bls.hash_to_curve import hash_to_field_FQ2, hash_to_G2
from py_ecc.optimized_bls12_381 import G1, G2, add, curve_order, multiply, neg, normalize

VECTORS = Path(__file__).parents[1] / "vectors" / "curve.json"
RFC_TAG = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_"
TAG = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
RFC_POINTS = {
    b"": (
        "0141ebfbdca40eb85b87142e130ab689c673cf60f1a3e98d69335266f30d9b8d4ac44c1038e9dcdd5393faf5c41fb78a"
        "05cb8437535e20ecffaef7752baddf98034139c38452458baeefab379ba13dff5bf5dd71b72418717047f5b0f37da03d"
        "0503921d7f6a12805e72940b963c0cf3471c7b2a524950ca195d11062ee75ec076daf2d4bc358c4b190c0c98064fdd92"
        "12424ac32561493f3fe3c260708a12b7c620e7be00099a974e259ddc7d1f6395c3c811cdd19f1e8dbf3e9ecfdcbab8d6"
    ),
    b"abc": (
        "02c2d18e033b960562aae3cab37a27ce00d80ccd5ba4b7fe0e7a210245129dbec7780ccc7954725f4168aff2787776e6"
        "139cddbccdc5e91b9623efd38c49f81a6f83f175e80b06fc374de9eb4b41dfe4ca3a230ed250fbe3a2acf73a41177fd8"
        "1787327b68159716a37440985269cf584bcb1e621d3a7202be6ea05c4cfe244aeb197642555a0645fb87bf7466b2ba48"
        "00aa65dae3c8d732d10ecd2c50f8a1baf3001578f71c694e03866e9f3d49ac1e1ce70dd94a733534f106d4cec0eddd16"
    ),
}


def padded(*numbers: int) -> str:
    return "0x" + "".join(f"{int(number):0128x}" for number in numbers)


def g1(point: Any) -> str:
    return padded(*(coordinate.n for coordinate in normalize(point)))


def g2(point: Any) -> str:
    return padded(*(part for coordinate in normalize(point) for part in coordinate.coeffs))


def document() -> dict[str, Any]:
    """Return the vectors: inputs and outputs of precompiles as EIP-2537 lays them out."""
    maps, hashes = [], []
    for message, rfc in RFC_POINTS.items():
        u = hash_to_field_FQ2(message, 2, RFC_TAG, sha256)
        point = g2(hash_to_G2(message, RFC_TAG, sha256))
        assert point == padded(*(int(rfc[i : i + 96], 16) for i in range(0, 384, 96)))
        fields = [padded(*element.coeffs) for element in u]
        maps.append({"message": "0x" + message.hex(), "u": fields, "point": point})
    for number in range(4):
        digest = sha256(bytes([number])).digest()
        hashes.append({"digest": "0x" + digest.hex(), "point": g2(hash_to_G2(digest, TAG, sha256))})
    a, b = 5, curve_order - 7
    (p, q), (r, s) = ((multiply(G1, n), multiply(G2, n)) for n in (a, b))
    message = hash_to_G2(b"m", TAG, sha256)
    good = g1(neg(G1)) + g2(multiply(message, a))[2:] + g1(p)[2:] + g2(message)[2:]
    # x of the first point of G1 that is on the curve but not of the subgroup: 0, 2.
    outside = padded(0, 2)
    return {
        "source": "py_ecc; the points of `maps` stand in RFC 9380, J.10.1",
        "maps": maps,
        "hashes": hashes,
        "calls": [
            {"address": 0x0B, "input": g1(p) + g1(r)[2:], "output": g1(add(p, r))},
            {"address": 0x0B, "input": g1(p) + g1(neg(p))[2:], "output": padded(0, 0)},
            {"address": 0x0B, "input": g1(p) + padded(0, 0)[2:], "output": g1(p)},
            {"address": 0x0C, "input": g1(G1) + f"{b:064x}", "output": g1(r)},
            {"address": 0x0D, "input": g2(q) + g2(s)[2:], "output": g2(add(q, s))},
            {"address": 0x0E, "input": g2(G2) + f"{b:064x}", "output": g2(s)},
            {"address": 0x0F, "input": good, "output": f"0x{1:064x}"},
            {"address": 0x0F, "input": good[: 256 * 3 + 2] + good[2:770], "output": f"0x{0:064x}"},
        ],
        "failures": [
            {"address": 0x0B, "input": padded(1, 1) + g1(p)[2:], "why": "not on the curve"},
            {"address": 0x0B, "input": g1(p), "why": "one point"},
            {"address": 0x0F, "input": outside + g2(q)[2:], "why": "not of the subgroup"},
            {"address": 0x0F, "input": "0x01" + good[4:], "why": "padding is not zero"},
            {"address": 0x0F, "input": good[:-2], "why": "a byte is missing"},
        ],
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(document(), indent=1) + "\n")
