"""The committed vectors equal what the code makes today, and the certificates in them verify.

`python tests/consensus/test_consensus_vectors.py` writes them anew. Bytes are 0x hex, numbers
decimal. The keys are `key_gen` of 32 bytes 0x01, of 32 bytes 0x02 and so on, and are good for
nothing else.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from blspy import G2Element, PopSchemeMPL

from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    bitmap_of,
    network_id,
    registration_digest,
)
from consensus.digests import (
    TAG_APPROVAL,
    TAG_CHANGE,
    TAG_CONFIGURATION,
    TAG_DECIDED,
    TAG_DOMAIN,
    TAG_GENESIS,
    TAG_HANDOVER,
    TAG_KEY_LIST,
    TAG_LINK,
    TAG_NETWORK,
    TAG_PROPOSAL,
    TAG_REGISTRATION,
    TAG_TIMEOUT,
    TAG_TIMING,
    TAG_VOTE,
    domain_digest,
    genesis_id,
    keccak,
    link_digest,
    proposal_digest,
    timeout_digest,
)
from consensus.handover import approval_digest, change_digest, decided_digest, terms_of
from consensus.messages import QC, TC, Change, HandoverCertificate, Header, TimeoutGroup
from contracts.points import decompress_g1, decompress_g2
from node.keys.bls_key import BlsKey
from node.keys.identity_key import IdentityKey
from node.signer import Signer
from node.verifier import Verifier

VECTORS = Path(__file__).parent.parent / "vectors" / "consensus.json"
TIMING = Timing()
VALID_UNTIL_MS = 1_900_000_000_000
GENESIS_MS = 1_700_000_000_000
FEED_TABLE = bytes([0xFE]) * 32
NEXT_TIMING = Timing(500, 2000, 60, 2500, 600, 4000)
NEXT_FEED_TABLE = bytes([0xFD]) * 32
DOCUMENT = b"the next configuration in full"
STATE = bytes([0x51]) * 32


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def unhexed(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "big") for value in values)


class Keys:
    """Four members, and the five of the next epoch: the first leaves, two come."""

    def __init__(self) -> None:
        seeds = [bytes([i]) * 32 for i in range(1, 7)]
        self.bls = [BlsKey(bytes(PopSchemeMPL.key_gen(seed))) for seed in seeds]
        self.identities = [IdentityKey(seed) for seed in seeds]
        members = tuple(
            Member(decompress_g1(b.public_key), b.public_key, i.public_key, bytes([n]) * 20)
            for n, (b, i) in enumerate(zip(self.bls, self.identities, strict=True), 1)
        )
        configuration = Configuration(members[:4], FEED_TABLE, TIMING, VALID_UNTIL_MS)
        network = network_id("vectors", configuration.hash)
        self.context = EpochContext(network, 7, configuration, STATE, GENESIS_MS)
        self.next = Configuration(
            members[1:], NEXT_FEED_TABLE, NEXT_TIMING, VALID_UNTIL_MS + 31_536_000_000
        )

    def signer(self, member: int) -> Signer:
        return Signer(self.context.domain, self.bls[member], self.identities[member])


def key_list_preimage(configuration: Configuration) -> bytes:
    records = b"".join(
        m.bls_key + m.ed25519_key + bytes(12) + m.operator for m in configuration.members
    )
    return TAG_KEY_LIST + len(configuration.members).to_bytes(2, "big") + records


def members_of(
    network: bytes, configuration: Configuration, keys: list[BlsKey]
) -> list[dict[str, str]]:
    return [
        {
            "bls_key_eip2537": hexed(m.bls_key),
            "bls_key": hexed(m.bls_key_compressed),
            "ed25519_key": hexed(m.ed25519_key),
            "operator": hexed(m.operator),
            "proof_of_possession": hexed(key.proof_of_possession()),
            "registration": hexed(
                key.sign(registration_digest(network, m.operator, m.ed25519_key))
            ),
        }
        for m, key in zip(configuration.members, keys, strict=True)
    ]


class End:
    """How epoch 7 ends: a block of view 4 decides the configuration of epoch 8."""

    def __init__(self, keys: Keys) -> None:
        self.keys, self.context, self.next = keys, keys.context, keys.next
        context, configuration = self.context, self.next
        self.approval = approval_digest(context, configuration.hash, keccak(DOCUMENT))
        self.approvals = {i: keys.bls[i].sign(self.approval) for i in (0, 1, 2)}
        self.change = Change(
            configuration.hash,
            DOCUMENT,
            bitmap_of(sorted(self.approvals)),
            aggregate(self.approvals.values()),
        )
        observations = bytes([0x55]) * 32
        state = bytes([0x56]) * 32
        payload = change_digest(observations, self.change)
        decided = decided_digest(state, 4, configuration.hash)
        link = link_digest(bytes([0x57]) * 32, 3, 4, decided, payload)
        self.block = Header(4, GENESIS_MS + 1000, bytes([0x58]) * 32, link)
        deciding_id = self.block.id(context.domain)
        self.terms = terms_of(context, configuration.hash, deciding_id, self.block.observed_at_ms)
        self.shares = {i: keys.bls[i].sign(self.terms.digest) for i in (1, 2, 3)}
        self.certificate = HandoverCertificate(
            configuration.hash,
            deciding_id,
            self.block.observed_at_ms,
            bitmap_of(sorted(self.shares)),
            aggregate(self.shares.values()),
        )
        self.preimages = {
            "approval": TAG_APPROVAL
            + context.domain
            + numbers(8)
            + configuration.hash
            + keccak(DOCUMENT),
            "change": TAG_CHANGE
            + observations
            + configuration.hash
            + keccak(DOCUMENT)
            + self.change.bitmap
            + self.change.aggregate,
            "decided": TAG_DECIDED + state + numbers(4) + configuration.hash,
            "handover": TAG_HANDOVER
            + context.domain
            + numbers(8)
            + self.terms.next_domain
            + deciding_id
            + numbers(self.block.observed_at_ms),
        }
        self.digests = {
            "approval": self.approval,
            "change": payload,
            "decided": decided,
            "handover": self.terms.digest,
        }

    def next_preimages(self) -> dict[str, bytes]:
        """Return how D of epoch 8 comes from its configuration."""
        key_list = key_list_preimage(self.next)
        timing = TAG_TIMING + numbers(500, 2000, 60, 2500, 600, 4000)
        configuration = (
            TAG_CONFIGURATION
            + keccak(key_list)
            + NEXT_FEED_TABLE
            + keccak(timing)
            + numbers(self.next.valid_until_ms)
        )
        domain = TAG_DOMAIN + self.context.network + numbers(8) + keccak(configuration)
        genesis = TAG_GENESIS + keccak(domain) + self.terms.deciding_id + bytes([0x59]) * 32
        return {
            "key_list": key_list,
            "timing": timing,
            "configuration": configuration,
            "domain": domain,
            "genesis": genesis,
        }

    def vectors(self) -> dict[str, Any]:
        context, configuration, terms = self.context, self.next, self.terms
        return {
            "epoch": terms.epoch,
            "valid_until_ms": configuration.valid_until_ms,
            "feed_table_digest": hexed(NEXT_FEED_TABLE),
            "timing": {name: getattr(NEXT_TIMING, name) for name in NEXT_TIMING.__slots__},
            "members": members_of(context.network, configuration, self.keys.bls[1:]),
            "genesis_state_digest": hexed(bytes([0x59]) * 32),
            "digests": {
                name: {"preimage": hexed(preimage), "digest": hexed(keccak(preimage))}
                for name, preimage in self.next_preimages().items()
            },
            "document": hexed(DOCUMENT),
            "approvals": {str(i): hexed(share) for i, share in self.approvals.items()},
            "change": {
                "bitmap": hexed(self.change.bitmap),
                "aggregate": hexed(self.change.aggregate),
            },
            "deciding_header": {
                "id": hexed(terms.deciding_id),
                "view": self.block.view,
                "observed_at_ms": self.block.observed_at_ms,
                "feed_root": hexed(self.block.feed_root),
                "link": hexed(self.block.link),
            },
            "shares": {str(i): hexed(share) for i, share in self.shares.items()},
            "certificate": {
                "bitmap": hexed(self.certificate.bitmap),
                "aggregate": hexed(self.certificate.aggregate),
                "aggregate_affine": hexed(decompress_g2(self.certificate.aggregate)),
            },
        }


def aggregate(shares: Iterable[bytes]) -> bytes:
    return bytes(PopSchemeMPL.aggregate([G2Element.from_bytes(share) for share in shares]))


def make() -> dict[str, Any]:
    """Return every vector; each digest beside the exact bytes that were hashed."""
    keys = Keys()
    context = keys.context
    configuration = context.configuration
    domain = context.domain
    link = link_digest(context.genesis_id, 0, 1, bytes([0x52]) * 32, bytes([0x53]) * 32)
    header = Header(3, GENESIS_MS + 750, bytes([0x54]) * 32, link)
    header_id = header.id(domain)
    key_list = key_list_preimage(configuration)
    timing = TAG_TIMING + numbers(250, 1000, 50, 2000, 500, 3000)
    parts = keccak(key_list) + FEED_TABLE + keccak(timing) + numbers(VALID_UNTIL_MS)
    end = End(keys)
    member = configuration.members[2]
    registration = registration_digest(context.network, member.operator, member.ed25519_key)
    preimages = {
        "key_list": key_list,
        "timing": timing,
        "configuration": TAG_CONFIGURATION + parts,
        "network": TAG_NETWORK + keccak(b"vectors") + configuration.hash,
        "domain": TAG_DOMAIN + context.network + numbers(7) + configuration.hash,
        "genesis": TAG_GENESIS + domain + bytes(32) + STATE,
        "link": TAG_LINK
        + context.genesis_id
        + numbers(0, 1)
        + bytes([0x52]) * 32
        + bytes([0x53]) * 32,
        "header": TAG_VOTE
        + domain
        + numbers(3, header.observed_at_ms)
        + header.feed_root
        + header.link,
        "timeout": TAG_TIMEOUT + domain + numbers(9, 3),
        "proposal": TAG_PROPOSAL + header_id,
        "registration": TAG_REGISTRATION
        + context.network
        + bytes(12)
        + member.operator
        + member.ed25519_key,
        **end.preimages,
    }
    digests = {
        "key_list": keccak(key_list),
        "timing": configuration.timing.digest(),
        "configuration": configuration.hash,
        "network": network_id("vectors", configuration.hash),
        "domain": domain,
        "genesis": context.genesis_id,
        "link": link,
        "header": header_id,
        "timeout": timeout_digest(domain, 9, 3),
        "proposal": proposal_digest(header_id),
        "registration": registration,
        **end.digests,
    }
    shares = {i: keys.signer(i).vote(header_id) for i in (0, 2, 3)}
    verifier = Verifier(context, 2)
    qc = verifier.certify_votes(header, header_id, shares)
    reported = {0: 0, 1: 3, 3: 3}
    timeouts = {i: (high, keys.signer(i).timeout(9, high)) for i, high in reported.items()}
    tc = verifier.certify_timeouts(9, timeouts, qc)
    return {
        "network": "vectors",
        "epoch": 7,
        "valid_until_ms": VALID_UNTIL_MS,
        "genesis_time_ms": GENESIS_MS,
        "genesis_state_digest": hexed(STATE),
        "feed_table_digest": hexed(FEED_TABLE),
        "timing": {name: getattr(TIMING, name) for name in TIMING.__slots__},
        "members": members_of(context.network, configuration, keys.bls[:4]),
        "leader_order": list(context.leader_order),
        "digests": {
            name: {"preimage": hexed(preimages[name]), "digest": hexed(digests[name])}
            for name in digests
        },
        "header": {
            "view": header.view,
            "observed_at_ms": header.observed_at_ms,
            "feed_root": hexed(header.feed_root),
            "link": hexed(header.link),
        },
        "votes": {str(i): hexed(share) for i, share in shares.items()},
        "proposal_signature_of_member_1": hexed(keys.signer(1).proposal(header_id)),
        "timeouts": {
            str(i): {"view": 9, "high_qc_view": high, "share": hexed(share)}
            for i, (high, share) in timeouts.items()
        },
        "qc": {
            "bitmap": hexed(qc.bitmap),
            "aggregate": hexed(qc.aggregate),
            "aggregate_affine": hexed(decompress_g2(qc.aggregate)),
        },
        "tc": {
            "view": tc.view,
            "groups": [
                {"high_qc_view": group.high_qc_view, "bitmap": hexed(group.bitmap)}
                for group in tc.groups
            ],
            "aggregate": hexed(tc.aggregate),
        },
        "handover": end.vectors(),
    }


@pytest.fixture(scope="module")
def committed() -> Any:
    return json.loads(VECTORS.read_text())


def test_the_code_makes_the_committed_vectors(committed: Any) -> None:
    assert make() == committed


def test_each_preimage_hashes_to_its_digest_and_begins_with_its_own_tag(committed: Any) -> None:
    tags = set()
    for vector in committed["digests"].values():
        preimage = unhexed(vector["preimage"])
        assert hexed(keccak(preimage)) == vector["digest"]
        tags.add(preimage[0])
    assert len(tags) == len(committed["digests"])


def test_the_genesis_of_a_later_epoch_holds_what_decided_it() -> None:
    context = Keys().context
    deciding = bytes([0xDD]) * 32
    expected = keccak(TAG_GENESIS + context.domain + deciding + STATE)
    assert genesis_id(context.domain, deciding, STATE) == expected


def test_the_certificates_verify_from_the_json_alone(committed: Any) -> None:
    configuration = configuration_in(committed)
    context = EpochContext(
        network_id(committed["network"], configuration.hash),
        committed["epoch"],
        configuration,
        unhexed(committed["genesis_state_digest"]),
        committed["genesis_time_ms"],
    )
    given = committed["header"]
    header = Header(
        given["view"],
        given["observed_at_ms"],
        unhexed(given["feed_root"]),
        unhexed(given["link"]),
    )
    qc = QC(header, unhexed(committed["qc"]["bitmap"]), unhexed(committed["qc"]["aggregate"]))
    Verifier(context, 2).check_qc(qc)
    groups = tuple(
        TimeoutGroup(group["high_qc_view"], unhexed(group["bitmap"]))
        for group in committed["tc"]["groups"]
    )
    tc = TC(committed["tc"]["view"], groups, unhexed(committed["tc"]["aggregate"]), qc)
    Verifier(context, 2).check_tc(tc)
    verifier = Verifier(context, 2)
    header_id = header.id(context.domain)
    assert hexed(header_id) == committed["digests"]["header"]["digest"]
    for member, share in committed["votes"].items():
        assert verifier.is_share(int(member), header_id, unhexed(share))
    for member, timeout in committed["timeouts"].items():
        digest = timeout_digest(context.domain, timeout["view"], timeout["high_qc_view"])
        assert verifier.is_share(int(member), digest, unhexed(timeout["share"]))


def configuration_in(vectors: Any) -> Configuration:
    members = tuple(
        Member(
            unhexed(m["bls_key_eip2537"]),
            unhexed(m["bls_key"]),
            unhexed(m["ed25519_key"]),
            unhexed(m["operator"]),
        )
        for m in vectors["members"]
    )
    return Configuration(
        members,
        unhexed(vectors["feed_table_digest"]),
        Timing(**vectors["timing"]),
        vectors["valid_until_ms"],
    )


def test_the_handover_verifies_from_the_json_alone(committed: Any) -> None:
    now, then = configuration_in(committed), configuration_in(committed["handover"])
    network = network_id(committed["network"], now.hash)
    context = EpochContext(
        network,
        committed["epoch"],
        now,
        unhexed(committed["genesis_state_digest"]),
        committed["genesis_time_ms"],
    )
    end = committed["handover"]
    for vector in end["digests"].values():
        assert hexed(keccak(unhexed(vector["preimage"]))) == vector["digest"]
    assert hexed(then.hash) == end["digests"]["configuration"]["digest"]
    next_domain = domain_digest(network, end["epoch"], then.hash)
    assert hexed(next_domain) == end["digests"]["domain"]["digest"]
    block = end["deciding_header"]
    header = Header(
        block["view"], block["observed_at_ms"], unhexed(block["feed_root"]), unhexed(block["link"])
    )
    assert hexed(header.id(context.domain)) == block["id"]
    next_genesis = genesis_id(
        next_domain, unhexed(block["id"]), unhexed(end["genesis_state_digest"])
    )
    assert hexed(next_genesis) == end["digests"]["genesis"]["digest"]
    # The five parts of a handover's preimage and nothing else: 1 + 32 + 8 + 32 + 32 + 8 bytes.
    preimage = unhexed(committed["digests"]["handover"]["preimage"])
    assert len(preimage) == 113
    assert preimage[41:73] == next_domain
    verifier = Verifier(context, 2)
    verifier.check_handover_certificate(
        HandoverCertificate(
            then.hash,
            unhexed(block["id"]),
            block["observed_at_ms"],
            unhexed(end["certificate"]["bitmap"]),
            unhexed(end["certificate"]["aggregate"]),
        )
    )
    for what, shares in (("handover", end["shares"]), ("approval", end["approvals"])):
        digest = unhexed(committed["digests"][what]["digest"])
        for member, share in shares.items():
            assert verifier.is_share(int(member), digest, unhexed(share))
    approval = approval_digest(context, then.hash, keccak(unhexed(end["document"])))
    assert hexed(approval) == committed["digests"]["approval"]["digest"]


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(make(), indent=1) + "\n")
