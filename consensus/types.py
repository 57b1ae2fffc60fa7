"""The vocabulary of the consensus: identifiers and their widths."""

from typing import Annotated, NewType

from msgspec import Meta

Epoch = NewType("Epoch", int)
"""One committee's term, counted from 0."""

View = NewType("View", int)
"""One leader's turn, counted from 1 within an epoch; 0 is the genesis."""

MemberIndex = NewType("MemberIndex", int)
"""A member's position in the configuration of its epoch."""

Digest = NewType("Digest", bytes)
"""A keccak-256 digest, 32 bytes."""

DIGEST_BYTES = 32
BLS_SIGNATURE_BYTES = 96
BLS_KEY_BYTES = 48
ED25519_SIGNATURE_BYTES = 64
ED25519_KEY_BYTES = 32
OPERATOR_BYTES = 20
BITMAP_BYTES = 32
MEMBERS_MAX = 128
"""No configuration has more members; one storage blob of a contract holds about 190 keys."""

UINT64_MAX = 2**64 - 1

# The same widths, as the wire decoder checks them. msgspec takes integers up to 2**64 - 1, and the
# preimages write all of them in eight bytes, so 2**63 - 1 leaves room for sums.
WireView = Annotated[int, Meta(ge=0, le=2**63 - 1)]
WireTime = Annotated[int, Meta(ge=0, le=2**63 - 1)]
WireDigest = Annotated[bytes, Meta(min_length=32, max_length=32)]
WireBitmap = Annotated[bytes, Meta(min_length=32, max_length=32)]
WireBlsSignature = Annotated[bytes, Meta(min_length=96, max_length=96)]
WireEd25519Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
