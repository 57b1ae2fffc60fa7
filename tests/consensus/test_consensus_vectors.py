"""The committed vectors equal what the code makes today, and the certificates in them verify.

`python tests/consensus/test_consensus_vectors.py` writes them anew. Bytes are 0x hex, numbers
decimal. The keys are `key_gen` of 32 bytes 0x01, of 32 bytes 0x02 and so on, and are good for
nothing else.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from blspy import PopSchemeMPL

from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    network_id,
    registration_digest,
)
from consensus.digests import (
    TAG_CONFIGURATION,
    TAG_DOMAIN,
    TAG_GENESIS,
    TAG_KEY_LIST,
    TAG_LINK,
    TAG_NETWORK,
    TAG_PROPOSAL,
    TAG_REGISTRATION,
    TAG_TIMEOUT,
    TAG_TIMING,
    TAG_VOTE,
    genesis_id,
    keccak,
    link_digest,
    proposal_digest,
    timeout_digest,
)
from consensus.messages import QC, TC, Header, TimeoutGroup
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
STATE = bytes([0x51]) * 32


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def unhexed(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "big") for value in values)


class Keys:
    """Four members."""

    def __init__(self) -> None:
        seeds = [bytes([i]) * 32 for i in range(1, 5)]
        self.bls = [BlsKey(bytes(PopSchemeMPL.key_gen(seed))) for seed in seeds]
        self.identities = [IdentityKey(seed) for seed in seeds]
        members = tuple(
            Member(decompress_g1(b.public_key), b.public_key, i.public_key, bytes([n]) * 20)
            for n, (b, i) in enumerate(zip(self.bls, self.identities, strict=True), 1)
        )
        configuration = Configuration(members, FEED_TABLE, TIMING, VALID_UNTIL_MS)
        network = network_id("vectors", configuration.hash)
        self.context = EpochContext(network, 7, configuration, STATE, GENESIS_MS)

    def signer(self, member: int) -> Signer:
        return Signer(self.context.domain, self.bls[member], self.identities[member])


def make() -> dict[str, Any]:
    """Return every vector; each digest beside the exact bytes that were hashed."""
    keys = Keys()
    context = keys.context
    configuration = context.configuration
    domain = context.domain
    link = link_digest(context.genesis_id, 0, 1, bytes([0x52]) * 32, bytes([0x53]) * 32)
    header = Header(3, GENESIS_MS + 750, bytes([0x54]) * 32, link)
    header_id = header.id(domain)
    key_records = b"".join(
        m.bls_key + m.ed25519_key + bytes(12) + m.operator for m in configuration.members
    )
    key_list = TAG_KEY_LIST + (4).to_bytes(2, "big") + key_records
    timing = TAG_TIMING + numbers(250, 1000, 50, 2000, 500, 3000)
    parts = keccak(key_list) + FEED_TABLE + keccak(timing) + numbers(VALID_UNTIL_MS)
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
        "members": [
            {
                "bls_key_eip2537": hexed(m.bls_key),
                "bls_key": hexed(m.bls_key_compressed),
                "ed25519_key": hexed(m.ed25519_key),
                "operator": hexed(m.operator),
                "proof_of_possession": hexed(key.proof_of_possession()),
                "registration": hexed(
                    key.sign(registration_digest(context.network, m.operator, m.ed25519_key))
                ),
            }
            for m, key in zip(configuration.members, keys.bls, strict=True)
        ],
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
    members = tuple(
        Member(
            unhexed(m["bls_key_eip2537"]),
            unhexed(m["bls_key"]),
            unhexed(m["ed25519_key"]),
            unhexed(m["operator"]),
        )
        for m in committed["members"]
    )
    configuration = Configuration(
        members,
        unhexed(committed["feed_table_digest"]),
        Timing(**committed["timing"]),
        committed["valid_until_ms"],
    )
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


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(make(), indent=1) + "\n")
