"""What a faulty exchange does to its frames: noise, wrong types, sizes beyond reason."""

import random
from collections.abc import Callable, Sequence

import msgspec

from testnet.exchanges.faults import Fault, Kind
from testnet.exchanges.protobuf import length_delimited
from testnet.exchanges.session import Binary

_STRANGE: Sequence[object] = (
    None,
    True,
    -1,
    0,
    10**30,
    "",
    "NaN",
    "-1",
    "1e400",
    "Infinity",
    [],
    {},
    [["1", "2"]],
    {"a": 1},
)
_DROPPED, _ADDED = 0.1, 0.1
# A field that no schema here has.
_UNKNOWN_FIELD = 1_000


def damaged(frame: bytes, fault: Fault, chance: random.Random) -> bytes | None:
    """Return a frame as a faulty venue sends it, None if it does not arrive at all."""
    match fault.kind:
        case Kind.LOSS:
            return frame if chance.random() < 0.5 else None
        case Kind.GARBAGE:
            return as_garbage(frame, chance)
        case Kind.TYPES:
            return with_wrong_types(frame, chance)
        case Kind.HUGE:
            return at_size(frame, fault.bytes)
        case _:
            return frame


def as_garbage(frame: bytes, chance: random.Random) -> bytes:
    """Return a frame that breaks the protocol; text frames stay valid UTF-8 or become binary."""
    return chance.choice(_GARBAGE)(frame, chance)


def with_wrong_types(frame: bytes, chance: random.Random) -> bytes:
    """Return a frame that parses, and whose fields are not what the protocol says."""
    if isinstance(frame, Binary):
        return _with_other_tag(frame, chance)
    message = msgspec.json.decode(frame)
    changed = _changed(message, chance)
    while changed == message:
        changed = _changed(message, chance)
    return msgspec.json.encode(changed)


def at_size(frame: bytes, size: int) -> bytes:
    """Return the frame blown up to a size in bytes, with the same meaning."""
    missing = max(size - len(frame), 0)
    if isinstance(frame, Binary):
        return Binary(frame + length_delimited(_UNKNOWN_FIELD, b"\0" * missing))
    return frame + b" " * missing


def _changed(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        kept = {
            key: _changed(inner, chance)
            for key, inner in value.items()
            if chance.random() >= _DROPPED
        }
        if chance.random() < _ADDED:
            kept["colour"] = chance.choice(_STRANGE)
        return kept
    if isinstance(value, list):
        return [_changed(inner, chance) for inner in value]
    if chance.random() < 0.5:
        return value
    if isinstance(value, str) and chance.random() < 0.3:
        return [value]
    return chance.choice(_STRANGE)


def _noise(frame: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 200)).hex().encode()


def _binary_noise(frame: bytes, chance: random.Random) -> bytes:
    return Binary(chance.randbytes(chance.randrange(1, 200)))


def _cut_short(frame: bytes, chance: random.Random) -> bytes:
    cut = frame[: chance.randrange(len(frame))]
    return Binary(cut) if isinstance(frame, Binary) else cut


def _doubled(frame: bytes, chance: random.Random) -> bytes:
    # Protocol buffers take a message twice for one: the first byte of the second goes.
    return Binary(frame + frame[1:]) if isinstance(frame, Binary) else frame + frame


def _with_other_tag(frame: bytes, chance: random.Random) -> bytes:
    """Return a protocol-buffers message whose first field is of another wire type."""
    other = chance.choice([kind for kind in range(8) if kind != frame[0] & 7])
    return Binary(bytes((frame[0] & ~7 | other,)) + frame[1:])


def _other_encoding(frame: bytes, chance: random.Random) -> bytes:
    return Binary(frame.decode("latin-1").encode("utf-16"))


_GARBAGE: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _noise,
    _binary_noise,
    _cut_short,
    _doubled,
    _other_encoding,
)
