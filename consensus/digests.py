"""Everything that is signed or hashed: fixed-width, big-endian, domain-separated preimages.

Each preimage starts with a one-byte tag of its own; `consensus/README.md` holds the table.
"""

from functools import lru_cache
from struct import pack

from eth_hash.backends.pysha3 import keccak256

from consensus.types import Digest

# 0x00 and 0x01 are the leaves and nodes of the feed tree, see aggregation/encoding.py.
TAG_DOMAIN = b"\x02"
TAG_VOTE = b"\x03"
TAG_LINK = b"\x04"
TAG_GENESIS = b"\x05"
TAG_TIMEOUT = b"\x06"
TAG_OBSERVATION = b"\x07"
TAG_PAYLOAD = b"\x08"
TAG_PROPOSAL = b"\x09"
TAG_CONFIGURATION = b"\x0a"
TAG_KEY_LIST = b"\x0b"
TAG_FEED_TABLE = b"\x0c"
TAG_TIMING = b"\x0d"
TAG_NETWORK = b"\x0e"
TAG_REGISTRATION = b"\x0f"
TAG_STATE = b"\x10"
TAG_APPROVAL = b"\x11"
TAG_HANDOVER = b"\x12"
TAG_FEED_PARAMETERS = b"\x13"
TAG_LEADER_ORDER = b"\x14"
TAG_CHANGE = b"\x15"
TAG_DECIDED = b"\x16"


def keccak(preimage: bytes) -> Digest:
    """Return the keccak-256 digest of a preimage."""
    return Digest(keccak256(preimage))


def domain_digest(network_id: bytes, epoch: int, configuration_hash: bytes) -> Digest:
    """Return D, which is inside everything that is ever signed in one epoch of one network."""
    assert len(network_id) == 32
    assert len(configuration_hash) == 32
    return keccak(TAG_DOMAIN + network_id + pack(">Q", epoch) + configuration_hash)


@lru_cache(maxsize=256)
def header_id(
    domain: bytes, view: int, observed_at_ms: int, feed_root: bytes, link: bytes
) -> Digest:
    """Return the id of a header: what votes sign, and what a contract recomputes."""
    assert len(domain) == len(feed_root) == len(link) == 32
    return keccak(TAG_VOTE + domain + pack(">QQ", view, observed_at_ms) + feed_root + link)


@lru_cache(maxsize=256)
def link_digest(
    parent_id: bytes, parent_view: int, height: int, state_digest: bytes, payload_digest: bytes
) -> Digest:
    """Return what ties a header to its parent, its height, its state and its payload."""
    assert len(parent_id) == len(state_digest) == len(payload_digest) == 32
    place = pack(">QQ", parent_view, height)
    return keccak(TAG_LINK + parent_id + place + state_digest + payload_digest)


def genesis_id(domain: bytes, deciding_id: bytes, state_digest: bytes) -> Digest:
    """Return the id of an epoch's genesis; it is taken by equality only, never signed."""
    assert len(domain) == len(deciding_id) == len(state_digest) == 32
    return keccak(TAG_GENESIS + domain + deciding_id + state_digest)


def timeout_digest(domain: bytes, view: int, high_qc_view: int) -> Digest:
    """Return what a timeout signs: its view and the view of the highest certificate known."""
    assert len(domain) == 32
    return keccak(TAG_TIMEOUT + domain + pack(">QQ", view, high_qc_view))


def proposal_digest(block_id: bytes) -> Digest:
    """Return what a leader's Ed25519 key signs; the id covers domain, view and content."""
    assert len(block_id) == 32
    return keccak(TAG_PROPOSAL + block_id)
