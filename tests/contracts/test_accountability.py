"""Stakes: who may move them, when they are free, and what convicts their members (A1-A5)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from blspy import PopSchemeMPL
from hypothesis import event, given, settings
from hypothesis import strategies as st

from aggregation.state import genesis_state
from consensus.committee import (
    Configuration,
    EpochContext,
    Timing,
    bitmap_of,
    network_id,
    registration_digest,
)
from consensus.digests import keccak, timeout_digest
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    InvalidEvidence,
    SignedTimeout,
    SignedVote,
    TwoTimeouts,
    TwoVotes,
    kind_of,
    two_timeouts,
    two_votes,
    verify_evidence,
)
from consensus.messages import Header, Link, TimeoutGroup
from contracts import accountability, client, epochs
from contracts.accountability import Convicted, Stake
from contracts.epochs import MemberProof
from node.evidence_file import document_of, encode_document, evidence_in
from node.verifier import Verifier
from testnet.byzantine import Coalition
from testnet.chain.evm import Account, Receipt, Reverted, account_of
from testnet.real_signatures import RealSignatures, TimedRule, real_setting
from testnet.setting import Setting
from testnet.simulation import Conditions, Simulation
from testnet.stub_signatures import GENESIS_TIME_MS

ARTIFACTS = Path(__file__).parent / "artifacts"
ETHER = 10**18
SHARE_PPM = 100_000
WINDOW_S = epochs.EVIDENCE_WINDOW_MS // 1000
COIN = bytes(20)
REFUSALS = {
    "AnotherLink",
    "BadSignature",
    "MalformedGroup",
    "NobodyConvicted",
    "NotInOrder",
    "TimeoutBeforeVote",
    "UnknownSigner",
    "ViewZero",
    "ViewsDiffer",
}


def operator(index: int) -> Account:
    return account_of(keccak(b"operator %d" % index))


@dataclass
class Court:
    """An Oracle whose members' operators have keys, and what is at stake beside it."""

    oracle: Any
    address: bytes
    token: bytes = COIN

    @property
    def committee(self) -> Any:
        return self.oracle.committee

    def send(self, data: bytes, sender: Account | None = None, value: int = 0) -> Receipt:
        receipt: Receipt = self.oracle.chain.transact(
            self.address, data, sender=sender, value=value, gas=2**24
        )
        return receipt

    def deposit(self, member: int, amount: int, **changes: Any) -> Receipt:
        record = replace(self.committee.members[member], **changes)
        value = amount if self.token == COIN else 0
        data = accountability.encode_deposit(record, amount)
        return self.send(data, operator(member), value)

    def key(self, member: int) -> bytes:
        return accountability.key_name(self.committee.members[member].bls_key)

    def stake(self, member: int) -> Stake:
        data = accountability.encode_stakes(self.key(member))
        return accountability.decode_stake(self.oracle.chain.call(self.address, data))

    def burnt(self) -> int:
        return self.number("burnt()")

    def number(self, signature: str) -> int:
        return int.from_bytes(self.oracle.chain.call(self.address, keccak(signature.encode())[:4]))

    def report(self, evidence: Evidence, epoch: int = 0) -> Receipt:
        return self.send(accountability.encode_report(epoch, evidence), account_of(b"\x01" * 32))


def error(receipt: Receipt) -> str:
    assert not receipt.succeeded
    return str(accountability.decode_error(receipt.output))


def convictions(receipt: Receipt) -> list[Convicted]:
    assert receipt.succeeded, accountability.decode_error(receipt.output)
    found = [accountability.decode_convicted(list(log.topics), log.data) for log in receipt.logs]
    return [one for one in found if one is not None]


def artifact(name: str) -> bytes:
    return bytes.fromhex(json.loads((ARTIFACTS / f"{name}.json").read_text())["bytecode"][2:])


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def make_court(
    kit: Any,
    token: bytes | None = COIN,
    fee_ppm: int = 0,
    silent: bool = False,
    name: str = "testnet",
) -> Court:
    class Operated(kit.Committee):  # type: ignore[misc]
        @property
        def members(self) -> Any:
            made = kit.Committee.members.func(self)
            return tuple(
                replace(member, operator=operator(i).address)
                for i, member in zip(self._numbers, made, strict=True)
            )

    oracle = kit.deploy(Operated(name=name))
    chain = oracle.chain
    for index in range(6):
        pay = chain.transact(operator(index).address, value=100 * ETHER)
        assert pay.succeeded
    chain.transact(account_of(b"\x01" * 32).address, value=10 * ETHER)
    if token is None:
        token = chain.deploy(artifact("Token") + word(fee_ppm) + word(silent))
        for index in range(6):
            mint = keccak(b"mint(address,uint256)")[:4] + bytes(12) + operator(index).address
            assert chain.transact(token, mint + word(100 * ETHER)).succeeded
    code = accountability.encode_deploy(oracle.address, token, SHARE_PPM)
    return Court(oracle, chain.deploy(code), token)


@pytest.fixture
def court(kit: Any) -> Court:
    return make_court(kit)


# Evidence by the consensus code, signed with the members' keys.


def sign(court: Court, digests: Iterable[tuple[int, bytes]]) -> bytes:
    keys = court.committee.keys
    return bytes(PopSchemeMPL.aggregate([PopSchemeMPL.sign(keys[i], d) for i, d in digests]))


def context_of(committee: Any) -> EpochContext:
    return EpochContext(committee.network, committee.epoch, committee.configuration, bytes(32), 0)


def vote(
    court: Court, members: Iterable[int], mark: int = 1, view: int = 9, parent: int = 8
) -> Any:
    link = Link(bytes([mark]) * 32, parent, 5, bytes(32), bytes(32))
    header = Header(view, 1_700_000_000_000 + mark, bytes([mark]) * 32, link.digest)
    digest = header.id(court.committee.domain)
    signers = sorted(members)
    signed = SignedVote(header, bitmap_of(signers), sign(court, [(i, digest) for i in signers]))
    return signed, link


def timeout(court: Court, reported: dict[int, int], view: int = 9) -> SignedTimeout:
    domain = court.committee.domain
    groups = tuple(
        TimeoutGroup(high, bitmap_of([i for i in sorted(reported) if reported[i] == high]))
        for high in sorted(set(reported.values()))
    )
    digests = [(i, timeout_digest(domain, view, high)) for i, high in reported.items()]
    return SignedTimeout(view, groups, sign(court, digests))


def double_vote(court: Court, one: Iterable[int], other: Iterable[int], view: int = 9) -> Evidence:
    votes = [vote(court, members, mark, view)[0] for mark, members in ((1, one), (2, other))]
    return two_votes(context_of(court.committee), *votes)


def test_whoever_voted_twice_loses_its_stake_and_the_reporter_gets_its_share(court: Court) -> None:
    for member in range(3):
        receipt = court.deposit(member, 3 * ETHER)
        assert receipt.succeeded, error(receipt)
    reporter = account_of(b"\x01" * 32).address
    before = court.oracle.chain.balance(reporter)
    receipt = court.report(double_vote(court, [0, 1, 2], [1, 2, 3]))
    found = convictions(receipt)
    assert [(c.key, c.slashed) for c in found] == [
        (court.key(1), 3 * ETHER),
        (court.key(2), 3 * ETHER),
    ]
    assert {c.offence for c in found} == {"two-votes"}
    reward = 6 * ETHER * SHARE_PPM // 10**6
    fees = receipt.gas_used * receipt.gas_price
    assert court.oracle.chain.balance(reporter) == before + reward - fees
    assert court.stake(1) == court.stake(2) == Stake(COIN, 0, 0, 0)
    assert court.stake(0).amount == 3 * ETHER
    # A4: what is held is the stakes and what was burnt.
    assert court.burnt() == 6 * ETHER - reward
    assert court.oracle.chain.balance(court.address) == 3 * ETHER + court.burnt()
    print(f"two certificates of three, two members slashed: {receipt.gas_used:,} gas")


def test_a2_an_offence_is_punished_once_by_whatever_evidence(court: Court) -> None:
    assert court.deposit(1, ETHER).succeeded
    assert convictions(court.report(double_vote(court, [1], [1])))
    assert court.deposit(1, ETHER).succeeded
    assert error(court.report(double_vote(court, [1], [1]))) == "AlreadyPunished()"
    # The same two votes inside certificates, a third vote of that view; who is new counts.
    assert [c.key for c in convictions(court.report(double_vote(court, [0, 1], [0, 1])))] == [
        court.key(0)
    ]
    context = context_of(court.committee)
    third = two_votes(context, vote(court, [1], 3)[0], vote(court, [1], 1)[0])
    assert error(court.report(third)) == "AlreadyPunished()"
    assert court.stake(1).amount == ETHER
    assert [
        c.slashed for c in convictions(court.report(double_vote(court, [1], [1], view=10)))
    ] == [ETHER]


def test_a_hidden_certificate_and_two_timeouts(court: Court) -> None:
    for member in (0, 2):
        assert court.deposit(member, ETHER).succeeded
    voted, link = vote(court, [0, 1, 3], parent=8)
    left = timeout(court, {0: 7, 1: 8, 2: 5}, view=11)
    receipt = court.report(HiddenCertificate(voted, link, left))
    assert [(c.key, c.view, c.offence, c.slashed) for c in convictions(receipt)] == [
        (court.key(0), 11, "hidden-certificate", ETHER)
    ]
    print(f"a hidden certificate, two groups: {receipt.gas_used:,} gas")
    twice = two_timeouts(left, timeout(court, {2: 6, 1: 8}, view=11))
    receipt = court.report(twice)
    assert [(c.key, c.offence, c.slashed) for c in convictions(receipt)] == [
        (court.key(2), "two-timeouts", ETHER)
    ]
    print(f"two timeout certificates, five groups: {receipt.gas_used:,} gas")


def test_a1_a_signature_that_is_not_the_members_convicts_nobody(court: Court) -> None:
    assert court.deposit(1, ETHER).succeeded
    good = double_vote(court, [1], [1])
    infinity = b"\xc0" + bytes(95)
    other = timeout(court, {1: 3, 0: 4})
    for part in ("first", "second"):
        signed = getattr(good, part)
        for changed in (
            replace_struct(signed, aggregate=other.aggregate),
            replace_struct(signed, bitmap=bitmap_of([0, 1])),
            replace_struct(signed, bitmap=bitmap_of([0])),
        ):
            lied = replace_struct(good, **{part: changed})
            answer = error(court.report(lied))
            assert answer.startswith(("BadSignature", "NobodyConvicted"))
    signed = replace_struct(good.first, aggregate=infinity)
    lied = replace_struct(good, first=signed)
    with pytest.raises(ValueError, match="infinity"):
        accountability.encode_report(0, lied)
    swapped = TimeoutGroup(3, bitmap_of([0])), TimeoutGroup(4, bitmap_of([1]))
    lied = two_timeouts(replace_struct(other, groups=swapped), timeout(court, {1: 5}))
    assert error(court.report(lied)).startswith("BadSignature(which=")
    assert court.stake(1).amount == ETHER


def replace_struct(struct: Any, **changes: Any) -> Any:
    from msgspec.structs import replace as replaced

    return replaced(struct, **changes)


def test_an_infinite_signature_or_a_malformed_point_in_calldata_convicts_nobody(
    court: Court,
) -> None:
    evidence = two_timeouts(timeout(court, {1: 3}), timeout(court, {1: 4}))
    calldata = accountability.encode_report(0, evidence)
    for signature in (bytes(192), b"\xff" * 192):
        place = calldata.rindex(client.decompress_g2(evidence.first.aggregate))
        forged = calldata[:place] + signature + calldata[place + 192 :]
        receipt = court.send(forged)
        assert error(receipt).startswith("BadSignature(which=")
        assert receipt.gas_used < 500_000


def test_evidence_of_another_epoch_or_network_convicts_nobody(court: Court, kit: Any) -> None:
    evidence = two_timeouts(timeout(court, {1: 3}), timeout(court, {1: 4}))
    assert error(court.report(evidence, epoch=1)) == "CommitteeMissing(epoch=1)"
    elsewhere = make_court(kit, name="another")
    assert elsewhere.key(1) == court.key(1)
    assert error(elsewhere.report(evidence)) == "BadSignature(which=0)"
    assert convictions(court.report(evidence))


# Stakes.


def test_only_the_operator_of_a_registered_member_deposits(court: Court) -> None:
    other = replace(court.committee.members[1], operator=operator(0).address)
    data = accountability.encode_deposit(other, 5)
    assert error(court.send(data, operator(0), 5)).startswith("NotRegistered(")
    data = accountability.encode_deposit(court.committee.members[1], 5)
    assert error(court.send(data, operator(0), 5)).startswith("NotOwner(")
    assert error(court.send(data, operator(1), 4)) == "ValueDiffers(value=4, amount=5)"
    assert error(court.deposit(1, 0)).startswith("NoStake(")
    assert court.deposit(1, 5).succeeded
    assert court.deposit(1, 6).succeeded
    assert court.stake(1) == Stake(operator(1).address, 0, 0, 11)


def test_a3_a_stake_stays_until_the_evidence_window_is_over(court: Court, kit: Any) -> None:
    assert court.deposit(1, ETHER).succeeded
    key, chain = court.key(1), court.oracle.chain
    withdraw = accountability.encode_withdraw(key)
    assert error(court.send(withdraw, operator(1))).startswith("Bound(")
    assert error(court.send(accountability.encode_unbond(key), operator(2))).startswith("NotOwner(")
    assert court.send(accountability.encode_unbond(key), operator(1)).succeeded
    assert error(court.send(accountability.encode_unbond(key), operator(1))).startswith(
        "AlreadyUnb"
    )
    end_s = kit.VALID_UNTIL_MS // 1000 + WINDOW_S
    assert court.stake(1).release_at_ms == end_s * 1000
    # In its last second it can still be slashed, and not be withdrawn.
    chain.set_timestamp(end_s)
    assert error(court.send(withdraw, operator(1))).startswith("Bound(")
    state = accountability.encode_report(0, double_vote(court, [1], [1]))
    chain.set_timestamp(end_s + 1)
    assert error(court.send(state)).startswith("TooLate(")
    assert error(court.send(withdraw, operator(2))).startswith("NotOwner(")
    before = chain.balance(operator(1).address)
    receipt = court.send(withdraw, operator(1))
    assert receipt.succeeded, error(receipt)
    fees = receipt.gas_used * receipt.gas_price
    assert chain.balance(operator(1).address) == before + ETHER - fees
    assert chain.balance(court.address) == 0
    assert error(court.send(withdraw, operator(1))).startswith("NoStake(")


def test_a3_evidence_is_taken_until_the_stake_is_free(court: Court, kit: Any) -> None:
    assert court.deposit(1, ETHER).succeeded
    assert court.send(accountability.encode_unbond(court.key(1)), operator(1)).succeeded
    court.oracle.chain.set_timestamp(kit.VALID_UNTIL_MS // 1000 + WINDOW_S)
    assert convictions(court.report(double_vote(court, [1], [1])))[0].slashed == ETHER
    court.oracle.chain.mine(timestamp=kit.VALID_UNTIL_MS // 1000 + WINDOW_S + 1)
    withdraw = accountability.encode_withdraw(court.key(1))
    assert error(court.send(withdraw, operator(1))).startswith("NoStake(")


def hand_over(court: Court, kit: Any, first_key: int, valid_until_ms: int) -> None:
    """Open the next epoch, of four members from `first_key` on."""
    from consensus.handover import terms_of
    from contracts.points import decompress_g2

    old = court.committee
    new = kit.Committee(
        n=4,
        first_key=first_key,
        epoch=old.epoch + 1,
        genesis=old.genesis or old,
        valid_until_ms=valid_until_ms,
    )
    for call in new.registrations():
        assert court.oracle.send(call, gas=2**24).succeeded
    digest = terms_of(context_of(old), new.configuration.hash, b"\xde" * 32, kit.NOW_MS).digest
    shares = [PopSchemeMPL.sign(key, digest) for key in old.keys]
    aggregate = decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
    terms = epochs.HandoverTerms(b"\xde" * 32, kit.NOW_MS, (1 << old.n) - 1, aggregate)
    call = epochs.encode_handover(new.epoch, new.configuration, new.table, terms)
    receipt = court.oracle.send(call, gas=2**24)
    assert receipt.succeeded, client.describe_error(receipt.output)
    court.oracle.committee = new


def test_a3_a_later_epoch_that_lists_the_key_binds_its_stake_too(court: Court, kit: Any) -> None:
    for member in (1, 3):
        assert court.deposit(member, ETHER).succeeded
    keys = {member: court.key(member) for member in (1, 3)}
    for member, key in keys.items():
        assert court.send(accountability.encode_unbond(key), operator(member)).succeeded
    day = 86_400_000
    # Epochs 1 and 2 have members 2-5 and 4-7: member 3 is in the first, member 1 in neither.
    hand_over(court, kit, 2, kit.VALID_UNTIL_MS + day)
    hand_over(court, kit, 4, kit.VALID_UNTIL_MS + 2 * day)
    court.oracle.chain.mine(timestamp=kit.VALID_UNTIL_MS // 1000 + WINDOW_S + 1)
    look = accountability.encode_look_through(keys[3], 1)
    for _ in range(2):
        assert court.send(look).succeeded
    withdraw = accountability.encode_withdraw(keys[3])
    answer = error(court.send(withdraw, operator(3)))
    assert f"releaseAt={kit.VALID_UNTIL_MS + day + WINDOW_S * 1000}" in answer
    receipt = court.send(accountability.encode_withdraw(keys[1]), operator(1))
    assert receipt.succeeded, error(receipt)
    print(f"withdraw past two epochs of four: {receipt.gas_used:,} gas")
    court.oracle.chain.mine(timestamp=(kit.VALID_UNTIL_MS + day) // 1000 + WINDOW_S + 1)
    assert court.send(withdraw, operator(3)).succeeded


@pytest.mark.parametrize(("fee_ppm", "silent"), [(0, False), (10_000, False), (0, True)])
def test_stakes_in_a_token(kit: Any, fee_ppm: int, silent: bool) -> None:
    court = make_court(kit, None, fee_ppm, silent)
    receipt = court.deposit(1, ETHER)
    assert receipt.succeeded, error(receipt)
    arrived = ETHER - ETHER * fee_ppm // 10**6
    assert court.stake(1).amount == arrived
    assert convictions(court.report(double_vote(court, [1], [1])))[0].slashed == arrived
    reporter = account_of(b"\x01" * 32).address
    balance = keccak(b"balanceOf(address)")[:4] + bytes(12)
    chain = court.oracle.chain
    paid = arrived * SHARE_PPM // 10**6
    got = int.from_bytes(chain.call(court.token, balance + reporter))
    assert got == paid - paid * fee_ppm // 10**6
    assert int.from_bytes(chain.call(court.token, balance + court.address)) == court.burnt()
    value = accountability.encode_deposit(court.committee.members[1], 5)
    assert error(court.send(value, operator(1), 5)).startswith("ValueDiffers(")


def test_a_token_that_calls_back_deposits_nothing_twice(kit: Any) -> None:
    court = make_court(kit, None)
    inner = accountability.encode_report(0, double_vote(court, [1], [1]))
    hook = keccak(b"hook(address,bytes)")[:4] + bytes(12) + court.address + word(64)
    hook += word(len(inner)) + inner + bytes(-len(inner) % 32)
    assert court.oracle.chain.transact(court.token, hook).succeeded
    assert court.deposit(1, ETHER).succeeded
    outcome = court.oracle.chain.call(court.token, keccak(b"outcome()")[:4])
    assert outcome[64:68] == keccak(b"Reentered()")[:4]
    assert court.stake(1).amount == ETHER


def test_a5_the_share_of_a_reporter_is_at_most_a_half(kit: Any, oracle: Any) -> None:
    with pytest.raises(Reverted) as reverted:
        oracle.chain.deploy(accountability.encode_deploy(oracle.address, COIN, 500_001))
    assert str(accountability.decode_error(reverted.value.data)) == "ShareTooLarge(sharePpm=500001)"


# End to end: what a simulated network with real keys finds, a chain punishes.


def real_court(kit: Any, faulty: frozenset[int]) -> tuple[Court, Setting]:
    """Return an Oracle of the simulated network, and that network."""
    base = real_setting(4, Timing(round_interval_ms=0, base_timeout_ms=200), faulty)
    table = base.rule.table if hasattr(base.rule, "table") else kit.feed_table(1)
    members = tuple(
        replace(member, operator=operator(i).address)
        for i, member in enumerate(base.context.configuration.members)
    )
    timing = base.context.configuration.timing
    configuration = Configuration(members, table.digest(), timing, kit.VALID_UNTIL_MS)
    network = network_id("simulated", configuration.hash)
    genesis = genesis_state(table, GENESIS_TIME_MS)
    context = EpochContext(network, 0, configuration, genesis.digest(), GENESIS_TIME_MS)
    setting = Setting(context, RealSignatures(context, faulty), TimedRule(context, table), genesis)
    keys = [PopSchemeMPL.key_gen(bytes([i + 1]) * 32) for i in range(4)]
    proofs = [
        MemberProof(
            bytes(PopSchemeMPL.pop_prove(key)),
            bytes(PopSchemeMPL.sign(key, registration_digest(network, m.operator, m.ed25519_key))),
        )
        for key, m in zip(keys, members, strict=True)
    ]
    from types import SimpleNamespace

    from testnet.chain.evm import EvmChain

    chain = EvmChain(genesis_time=kit.CHAIN_TIME)
    code = epochs.encode_deploy(
        name="simulated", configuration_hash=configuration.hash, max_future_ms=15_000
    )
    address = chain.deploy(code)
    opening = (*epochs.encode_register(members, proofs), epochs.encode_open(configuration, table))
    for call in opening:
        assert chain.transact(address, call, gas=2**24).succeeded
    for index in range(4):
        chain.transact(operator(index).address, value=100 * ETHER)
    chain.transact(account_of(b"\x01" * 32).address, value=10 * ETHER)
    committee = SimpleNamespace(members=members, domain=context.domain, keys=keys)
    oracle = SimpleNamespace(chain=chain, address=address, committee=committee)
    court_ = chain.deploy(accountability.encode_deploy(address, COIN, SHARE_PPM))
    return Court(oracle, court_), setting


def test_what_a_network_with_real_keys_finds_is_punished(kit: Any) -> None:
    """A member with two voices, and liars that hide certificates; each charge is tried on chain."""
    punished: dict[str, set[int]] = {}
    for seed, liar in enumerate((2, 1, 3)):
        court, setting = real_court(kit, frozenset({liar}))
        for member in range(4):
            assert court.deposit(member, ETHER).succeeded
        conditions = Conditions(delay_ms=(1, 40), loss=50)
        if seed == 0:
            run = Simulation(4, seed, conditions=conditions, twins=[liar], setting=setting)
        else:
            run = Simulation(4, seed, conditions=conditions, faulty=[liar], setting=setting)
            vices = ["equivocate", "stale", "hide", "overreach"]
            run.coalition = Coalition(run, Random(seed), vices)
        run.run(4_000)
        found = {
            (kind_of(one.evidence), one.evidence.view): one.evidence
            for node in run.honest
            for one in node.evidence
        }
        assert found, f"no evidence at seed {seed}"
        for kind, evidence in list(found.items())[:12]:
            # As `didyma evidence export` writes it, and whoever got the file reads it.
            content = encode_document(document_of(setting.context, evidence))
            document, exported = evidence_in(content)
            assert document.accused == (liar,)
            receipt = court.report(exported, document.epoch)
            for conviction in convictions(receipt):
                member = [court.key(i) for i in range(4)].index(conviction.key)
                punished.setdefault(kind[0], set()).add(member)
                assert member == liar
        assert court.stake(liar).amount == 0
        assert all(court.stake(i).amount == ETHER for i in range(4) if i != liar)
    print({kind: sorted(who) for kind, who in punished.items()})
    assert {"two-votes", "two-timeouts"} <= set(punished)


# The contract and the consensus code convict the same members.


def grouped(reported: dict[int, int]) -> list[tuple[int, int]]:
    return [
        (high, sum(1 << i for i in reported if reported[i] == high))
        for high in sorted(set(reported.values()))
    ]


BITS = st.one_of(st.integers(1, 0b1111), st.integers(1, 0b1111), st.integers(1, 0b11111))
"""Of four members, so that some have a bit too many."""
VIEWS = st.sampled_from([4, 4, 4, 3, 5, 0])
HIGHS = st.integers(0, 4)
GROUPS = st.one_of(
    st.dictionaries(st.integers(0, 3), st.integers(0, 3), min_size=1).map(grouped),
    st.dictionaries(st.integers(0, 3), st.integers(0, 3), min_size=1).map(grouped),
    st.lists(st.tuples(HIGHS, BITS), min_size=1, max_size=3),
)
MARKS = st.integers(1, 3)
PIECES = st.one_of(
    st.tuples(st.just("votes"), VIEWS, VIEWS, BITS, BITS, MARKS, MARKS),
    st.tuples(st.just("timeouts"), VIEWS, VIEWS, GROUPS, GROUPS),
    st.tuples(
        st.just("hidden"), VIEWS, HIGHS, VIEWS, BITS, GROUPS, st.sampled_from([True, True, False])
    ),
)


def raw_vote(court: Court, view: int, parent: int, bits: int, mark: int) -> tuple[SignedVote, Link]:
    link = Link(bytes([mark]) * 32, parent, 5, bytes(32), bytes(32))
    header = Header(view, 1_700_000_000_000 + mark, bytes([mark]) * 32, link.digest)
    digest = header.id(court.committee.domain)
    signed = sign(court, [(i, digest) for i in range(4) if bits >> i & 1] or [(0, digest)])
    return SignedVote(header, bits.to_bytes(32, "big"), signed), link


def raw_timeout(court: Court, view: int, base: int, groups: list[tuple[int, int]]) -> SignedTimeout:
    """Return a timeout with its groups as they come: overlapping, descending, beyond its view."""
    domain = court.committee.domain
    digests = [
        (i, timeout_digest(domain, view, base + high))
        for high, bits in groups
        for i in range(4)
        if bits >> i & 1
    ]
    made = tuple(TimeoutGroup(base + high, bits.to_bytes(32, "big")) for high, bits in groups)
    return SignedTimeout(view, made, sign(court, digests or [(0, bytes(32))]))


@pytest.fixture(scope="module")
def judges(kit: Any) -> tuple[Court, Any, list[int]]:
    court = make_court(kit)
    return court, Verifier(context_of(court.committee), 4), [0]


@settings(max_examples=150, deadline=None)
@given(PIECES, st.sampled_from([True, True, True, False]))
def test_a1_the_contract_convicts_whom_the_consensus_code_convicts(
    judges: tuple[Court, Any, list[int]], piece: Any, ordered: bool
) -> None:
    court, verifier, count = judges
    # Views of their own for each example, so that no offence was punished before.
    count[0] += 10
    base = count[0]
    context = context_of(court.committee)
    match piece:
        case ("votes", view, other_view, bits, other_bits, mark, other_mark):
            # View 0 is nobody's.
            view, other_view = (base * (v > 0) + v for v in (view, other_view))
            one, _ = raw_vote(court, view, 0, bits, mark)
            other, _ = raw_vote(court, other_view, 0, other_bits, other_mark)
            evidence: Evidence = two_votes(context, one, other) if ordered else TwoVotes(one, other)
        case ("timeouts", view, other_view, groups, other_groups):
            left = raw_timeout(court, base + view, base, groups)
            again = raw_timeout(court, base + other_view, base, other_groups)
            evidence = two_timeouts(left, again) if ordered else TwoTimeouts(left, again)
        case (_, view, parent, left_view, bits, groups, true_link):
            voted, link = raw_vote(court, base + view, base + parent, bits, 1)
            if not true_link:
                link = replace_struct(link, height=6)
            evidence = HiddenCertificate(
                voted, link, raw_timeout(court, base + left_view, base, groups)
            )
    try:
        guilty: tuple[int, ...] = verify_evidence(context, evidence, verifier)
    except InvalidEvidence:
        guilty = ()
    event(f"{kind_of(evidence)}: {'convicts' if guilty else 'nothing'}")
    receipt = court.report(evidence)
    found = [c.key for c in convictions(receipt)] if receipt.succeeded else []
    assert found == [court.key(member) for member in guilty], error(receipt)
    if not receipt.succeeded:
        assert error(receipt).split("(")[0] in REFUSALS
