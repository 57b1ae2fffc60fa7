"""The two keys with which a member speaks: BLS for votes and timeouts, Ed25519 for the rest."""

from blspy import PopSchemeMPL, PrivateKey
from nacl.signing import SigningKey

from consensus.digests import proposal_digest, timeout_digest


class Signer:
    """Signs what the core decided; deterministic, so a repetition has the same bytes.

    Nothing here remembers or refuses: the core decides, the store remembers, in this order.
    """

    def __init__(self, domain: bytes, bls_key: PrivateKey, identity_seed: bytes) -> None:
        self._domain = domain
        self._bls_key = bls_key
        self._identity = SigningKey(identity_seed)

    def __repr__(self) -> str:
        # blspy's own repr would print the secret.
        return "<Signer>"

    def vote(self, block_id: bytes) -> bytes:
        """Return the BLS share on a header's id (96 bytes)."""
        return bytes(PopSchemeMPL.sign(self._bls_key, block_id))

    def timeout(self, view: int, high_qc_view: int) -> bytes:
        """Return the BLS share on having left a view (96 bytes)."""
        digest = timeout_digest(self._domain, view, high_qc_view)
        return bytes(PopSchemeMPL.sign(self._bls_key, digest))

    def proposal(self, block_id: bytes) -> bytes:
        """Return the Ed25519 signature on a proposal (64 bytes)."""
        return bytes(self._identity.sign(proposal_digest(block_id)).signature)

    def observation(self, digest: bytes) -> bytes:
        """Return the Ed25519 signature on an observation's digest (64 bytes)."""
        return bytes(self._identity.sign(digest).signature)
