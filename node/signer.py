"""The two keys with which a member speaks: BLS for votes and timeouts, Ed25519 for the rest."""

from consensus.digests import proposal_digest, timeout_digest
from consensus.handover import Terms
from node.keys.bls_key import BlsKey
from node.keys.identity_key import IdentityKey


class Silent(Exception):
    """Something was to be signed after the member had to fall silent."""


class Signer:
    """Signs what the core decided; deterministic, so a repetition has the same bytes.

    Nothing here remembers: the core decides, the store remembers, in this order. Once it fell
    silent, which is for good, every method raises `Silent`.
    """

    def __init__(self, domain: bytes, bls_key: BlsKey, identity: IdentityKey) -> None:
        self._domain = domain
        self._bls_key = bls_key
        self._identity = identity
        self._silent: str | None = None

    def fall_silent(self, reason: str) -> None:
        """Sign nothing more."""
        self._silent = reason

    def _check(self) -> None:
        if self._silent is not None:
            raise Silent(self._silent)

    def vote(self, block_id: bytes) -> bytes:
        """Return the BLS share on a header's id (96 bytes)."""
        self._check()
        return self._bls_key.sign(block_id)

    def timeout(self, view: int, high_qc_view: int) -> bytes:
        """Return the BLS share on having left a view (96 bytes)."""
        self._check()
        return self._bls_key.sign(timeout_digest(self._domain, view, high_qc_view))

    def proposal(self, block_id: bytes) -> bytes:
        """Return the Ed25519 signature on a proposal (64 bytes)."""
        self._check()
        return self._identity.sign(proposal_digest(block_id))

    def handover(self, terms: Terms) -> bytes:
        """Return the BLS share on the end of the epoch (96 bytes)."""
        self._check()
        return self._bls_key.sign(terms.digest)

    def approval(self, digest: bytes) -> bytes:
        """Return the BLS share on the approval of a next epoch (96 bytes)."""
        self._check()
        return self._bls_key.sign(digest)

    def observation(self, digest: bytes) -> bytes:
        """Return the Ed25519 signature on an observation's digest (64 bytes)."""
        self._check()
        return self._identity.sign(digest)
