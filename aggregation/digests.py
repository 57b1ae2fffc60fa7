"""The tags and the hash of what this package digests; `aggregation/README.md` holds the table.

The tags are those of `consensus/digests.py`, which the layers forbid to import; a test compares.
"""

from eth_hash.backends.pysha3 import keccak256

TAG_LEAF = b"\x00"
TAG_NODE = b"\x01"
TAG_OBSERVATION = b"\x07"
TAG_PAYLOAD = b"\x08"
TAG_FEED_TABLE = b"\x0c"
TAG_STATE = b"\x10"
TAG_FEED_PARAMETERS = b"\x13"


def keccak(preimage: bytes) -> bytes:
    """Return the keccak-256 digest of a preimage."""
    return keccak256(preimage)
