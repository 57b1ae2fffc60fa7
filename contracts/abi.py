"""The compiled contracts, and the little of the contract ABI that they need.

Written out here because eth_abi takes over half a second to import, and the command line has
none to spare. Nothing here looks at a chain.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from consensus.digests import keccak

WORD_BYTES: Final = 32
_ARRAY_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ContractError:
    """A custom error that a contract reverted with."""

    name: str
    arguments: dict[str, int | bytes | str]

    def __str__(self) -> str:
        """Show the error as it stands in the source: `Stale(feed=0, age=9000, maxAge=1000)`."""
        shown = (f"{name}={_shown(value)}" for name, value in self.arguments.items())
        return f"{self.name}({', '.join(shown)})"


@cache
def artifact(contract: str) -> dict[str, Any]:
    """Return the committed artifact of a contract: `abi`, `bytecode`, `deployedBytecode`."""
    text = files("contracts").joinpath("artifacts", f"{contract}.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def bytecode(contract: str) -> bytes:
    """Return a contract's creation code."""
    return bytes.fromhex(artifact(contract)["bytecode"][2:])


@cache
def selector(contract: str, function: str) -> bytes:
    """Return the four bytes that begin a call of a function."""
    return keccak(_signature(_entry(contract, "function", function)).encode())[:4]


@cache
def topic(contract: str, event: str) -> bytes:
    """Return the first topic of an event."""
    return keccak(_signature(_entry(contract, "event", event)).encode())


def decode_error(contract: str, data: bytes) -> ContractError | None:
    """Return the custom error in revert data, or None if it is none of the contract's."""
    entry = _errors(contract).get(data[:4])
    if entry is None:
        return None
    try:
        values = decode([parameter["type"] for parameter in entry["inputs"]], data[4:])
    except ValueError:
        return None
    names = [parameter["name"] for parameter in entry["inputs"]]
    return ContractError(entry["name"], dict(zip(names, values, strict=True)))


def encode_word(value: int | bytes) -> bytes:
    """Return an unsigned integer, or up to 32 bytes padded on the right, as one word."""
    if isinstance(value, bytes):
        if len(value) > WORD_BYTES:
            raise ValueError(f"{len(value)} bytes do not fit a word")
        return value.ljust(WORD_BYTES, b"\0")
    if not 0 <= value < 1 << 256:
        raise ValueError(f"{value} does not fit a word")
    return value.to_bytes(WORD_BYTES, "big")


def encode_words(*values: int | bytes) -> bytes:
    """Return values as one word each."""
    return b"".join(map(encode_word, values))


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A part of a tuple that stands behind it, with an offset in its place."""

    encoded: bytes


def encode_tuple(*parts: int | bytes | Dynamic) -> bytes:
    """Return a tuple: integers, parts of fixed size as they are encoded, and dynamic ones."""
    fixed = [encode_word(part) if isinstance(part, int) else part for part in parts]
    offset = sum(WORD_BYTES if isinstance(part, Dynamic) else len(part) for part in fixed)
    head, tail = b"", b""
    for part in fixed:
        if isinstance(part, Dynamic):
            head += encode_word(offset + len(tail))
            tail += part.encoded
        else:
            assert len(part) % WORD_BYTES == 0
            head += part
    return head + tail


def encode_array(items: Sequence[int | bytes | Dynamic]) -> Dynamic:
    """Return an array of elements that are all of fixed size or all dynamic."""
    return Dynamic(encode_word(len(items)) + encode_tuple(*items))


def encode_call(contract: str, function: str, *arguments: int | bytes | Dynamic) -> bytes:
    """Return the calldata of a function with arguments as `encode_tuple` takes them."""
    return selector(contract, function) + encode_tuple(*arguments)


def decode(types: Sequence[str], data: bytes) -> list[Any]:
    """Return values of the types uint*, address, bytes32, string and uint256[].

    Integers and addresses come as int. Raises `ValueError` if the data are too short or a number
    is beyond its type.
    """
    return [_decode_one(kind, data, place * WORD_BYTES) for place, kind in enumerate(types)]


def _decode_one(kind: str, data: bytes, place: int) -> Any:
    word = _take(data, place, WORD_BYTES)
    number = int.from_bytes(word, "big")
    if kind == "bytes32":
        return word
    if kind in ("string", "uint256[]"):
        count = int.from_bytes(_take(data, number, WORD_BYTES), "big")
        if count > _ARRAY_MAX:
            raise ValueError(f"a {kind} of {count} elements")
        if kind == "string":
            return _take(data, number + WORD_BYTES, count).decode("utf-8", "replace")
        body = _take(data, number + WORD_BYTES, count * WORD_BYTES)
        return [
            int.from_bytes(body[at : at + WORD_BYTES], "big")
            for at in range(0, len(body), WORD_BYTES)
        ]
    bits = 160 if kind == "address" else int(kind.removeprefix("uint"))
    if number >> bits:
        raise ValueError(f"{number} is no {kind}")
    return number


def _take(data: bytes, start: int, count: int) -> bytes:
    part = data[start : start + count]
    if len(part) != count:
        raise ValueError(f"{len(data)} bytes, {start + count} are needed")
    return part


@cache
def _errors(contract: str) -> dict[bytes, dict[str, Any]]:
    entries = (entry for entry in artifact(contract)["abi"] if entry["type"] == "error")
    return {keccak(_signature(entry).encode())[:4]: entry for entry in entries}


def _entry(contract: str, kind: str, name: str) -> dict[str, Any]:
    for entry in artifact(contract)["abi"]:
        if entry["type"] == kind and entry["name"] == name:
            found: dict[str, Any] = entry
            return found
    raise KeyError(f"{contract} has no {kind} {name}")


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(map(_type, entry['inputs']))})"


def _type(parameter: dict[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(_type, parameter['components']))}){kind.removeprefix('tuple')}"


def _shown(value: int | bytes | str) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
