"""RFC 9380 and EIP-2537 on the embedded EVM and in the library, against py_ecc's vectors."""

import json
from pathlib import Path
from typing import Any

import pytest
from blspy import G2Element, PopSchemeMPL, PrivateKey

from contracts.points import decompress_g2
from testnet.chain.evm import ExecutionFailed

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "curve.json").read_text())


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def call(harness: Any, address: int, data: str | bytes) -> bytes:
    raw = unhex(data) if isinstance(data, str) else data
    output: bytes = harness.chain.call(address.to_bytes(20, "big"), raw)
    return output


@pytest.mark.parametrize("vector", VECTORS["maps"], ids=lambda vector: vector["message"])
def test_the_points_of_the_rfc(harness: Any, vector: dict[str, Any]) -> None:
    points = b"".join(call(harness, 0x11, u) for u in vector["u"])
    assert call(harness, 0x0D, points) == unhex(vector["point"])


@pytest.mark.parametrize("vector", VECTORS["hashes"], ids=lambda vector: vector["digest"][:10])
def test_the_librarys_hash_to_curve(harness: Any, vector: dict[str, Any]) -> None:
    """Three agree: the library, py_ecc and blspy, whose signature by the key 1 is the hash."""
    digest, point = unhex(vector["digest"]), unhex(vector["point"])
    assert harness.raw("message(bytes32)", digest) == point
    one = PrivateKey.from_bytes((1).to_bytes(32, "big"))
    signature = G2Element.from_bytes(bytes(PopSchemeMPL.sign(one, digest)))
    packed = decompress_g2(bytes(signature))
    assert b"".join(bytes(16) + packed[i : i + 48] for i in range(0, 192, 48)) == point


@pytest.mark.parametrize("vector", VECTORS["calls"], ids=lambda vector: hex(vector["address"]))
def test_precompiles_answer_as_they_must(harness: Any, vector: dict[str, Any]) -> None:
    assert call(harness, vector["address"], vector["input"]) == unhex(vector["output"])


@pytest.mark.parametrize("vector", VECTORS["failures"], ids=lambda vector: vector["why"])
def test_precompiles_refuse_what_is_malformed(harness: Any, vector: dict[str, Any]) -> None:
    with pytest.raises(ExecutionFailed):
        call(harness, vector["address"], vector["input"])
