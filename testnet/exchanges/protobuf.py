"""The wire format of protocol buffers, as far as one message of MEXC needs it.

https://protobuf.dev/programming-guides/encoding/
"""

_VARINT, _LENGTH_DELIMITED = 0, 2


def varint(number: int, value: int) -> bytes:
    """Return an integer field; absent, as proto3 has it, if it is 0."""
    return _base_128(number << 3 | _VARINT) + _base_128(value) if value else b""


def text(number: int, value: str) -> bytes:
    """Return a string field; absent, as proto3 has it, if it is empty."""
    return length_delimited(number, value.encode()) if value else b""


def length_delimited(number: int, value: bytes) -> bytes:
    """Return a field of bytes or an embedded message."""
    return _base_128(number << 3 | _LENGTH_DELIMITED) + _base_128(len(value)) + value


def _base_128(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
