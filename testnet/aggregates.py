"""Certificates of real shares, whoever's they are, and shares that are none."""

from collections.abc import Iterable, Mapping, Sequence

from blspy import G2Element, PopSchemeMPL, PrivateKey

from consensus.committee import bitmap_of, signers_of
from consensus.digests import timeout_digest
from consensus.messages import QC, TC, Header, TimeoutGroup

INFINITY = bytes([0xC0]) + bytes(95)

OFF_SUBGROUP = bytes([0x80]) + bytes(94) + b"\x02"
"""A point of the curve over F_p^2 that is not in the group G2."""

_POISON = PrivateKey.from_bytes(bytes(31) + b"\x07")


class Aggregates:
    """Makes certificates of the shares that are known: `testnet.forgeries.Aggregator`.

    What nobody signed cannot be made: an aggregate of a share that is not known lacks it, and does
    not verify.
    """

    def __init__(self, domain: bytes) -> None:
        self._domain = domain

    def known_share(self, member: int, digest: bytes) -> bytes | None:
        """Return a member's share on a digest, if it is known or may be made."""
        raise NotImplementedError

    def qc(self, header: Header, signers: Sequence[int]) -> QC:
        """Return the certificate of these members."""
        digest = header.id(self._domain)
        aggregate = self.aggregate((signer, digest) for signer in signers)
        return QC(header, bitmap_of(signers), aggregate)

    def tc(self, view: int, reported: Mapping[int, int], high_qc: QC) -> TC:
        """Return the timeout certificate of {signer: high-QC view}."""
        by_view: dict[int, list[int]] = {}
        for signer, high in reported.items():
            by_view.setdefault(high, []).append(signer)
        groups = tuple(TimeoutGroup(high, bitmap_of(by_view[high])) for high in sorted(by_view))
        return TC(view, groups, self.tc_aggregate(view, groups), high_qc)

    def tc_aggregate(self, view: int, groups: Sequence[TimeoutGroup]) -> bytes:
        """Return the aggregate of these members' shares on leaving a view."""
        return self.aggregate(
            (signer, timeout_digest(self._domain, view, group.high_qc_view))
            for group in groups
            for signer in signers_of(group.bitmap)
        )

    def aggregate(self, wanted: Iterable[tuple[int, bytes]]) -> bytes:
        """Return the aggregate of {signer, digest} shares, of those that are known and are points.

        Infinity if none is.
        """
        points = []
        for signer, digest in wanted:
            share = self.known_share(signer, digest)
            try:
                points.append(G2Element.from_bytes(share or b""))
            except (ValueError, RuntimeError):
                continue  # Not known, or somebody's garbage.
        return bytes(PopSchemeMPL.aggregate(points)) if points else INFINITY


def bad_share(kind: int, member: int, share: bytes, another: bytes) -> bytes:
    """Return what is no share, of one of `testnet.setting.BAD_SHARES` kinds.

    `share` is the member's true one, `another` somebody else's or on something else.
    """
    if kind == 0:
        return INFINITY
    if kind == 1:
        return bytes([0x8F]) + bytes(95)
    if kind == 2:
        return OFF_SUBGROUP
    if kind == 3:
        return another
    # Two faulty members of different parity add up to their true aggregate.
    extra = PopSchemeMPL.sign(_POISON, b"poison")
    point = G2Element.from_bytes(share)
    return bytes(point + extra if member % 2 else point + extra.negate())
