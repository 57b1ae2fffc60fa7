"""EVM addresses as text, with the checksum of EIP-55."""

from consensus.digests import keccak
from consensus.types import OPERATOR_BYTES


def format_address(address: bytes) -> str:
    """Return the checksummed form of 20 bytes."""
    assert len(address) == OPERATOR_BYTES
    digits = address.hex()
    nibbles = keccak(digits.encode()).hex()
    checked = (
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(digits, nibbles, strict=False)
    )
    return "0x" + "".join(checked)


def parse_address(text: str) -> bytes:
    """Return the 20 bytes; raise `ValueError` for another length or a wrong checksum.

    An address in one case only carries no checksum and is taken as it is.
    """
    digits = text.removeprefix("0x")
    try:
        address = bytes.fromhex(digits)
    except ValueError:
        raise ValueError("is not hexadecimal: an address is 0x and 40 hex digits") from None
    if len(address) != OPERATOR_BYTES or len(digits) != 2 * OPERATOR_BYTES:
        raise ValueError("must be 0x and 40 hex digits")
    mixed_case = digits not in (digits.lower(), digits.upper())
    if mixed_case and format_address(address) != "0x" + digits:
        raise ValueError("has a wrong checksum: a digit or a letter's case differs; copy it anew")
    return address
