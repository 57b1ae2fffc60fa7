"""What a simulated network with real keys finds, a chain punishes."""

from dataclasses import replace
from random import Random
from typing import Any

from blspy import PopSchemeMPL

from aggregation.state import genesis_state
from consensus.committee import (
    Configuration,
    EpochContext,
    Timing,
    network_id,
    registration_digest,
)
from consensus.digests import keccak
from consensus.evidence import (
    kind_of,
)
from contracts import accountability, epochs
from contracts.epochs import MemberProof
from node.evidence_file import document_of, encode_document, evidence_in
from testnet.byzantine import Coalition
from testnet.chain.evm import Account, account_of
from testnet.real_signatures import RealSignatures, TimedRule, real_setting
from testnet.setting import Setting
from testnet.simulation import Conditions, Simulation
from testnet.stub_signatures import GENESIS_TIME_MS

ETHER = 10**18
SHARE_PPM = 100_000
COIN = bytes(20)


def operator(index: int) -> Account:
    return account_of(keccak(b"operator %d" % index))


def real_court(kit: Any, beside: Any, faulty: frozenset[int]) -> tuple[Any, Setting]:
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
    return beside(oracle, court_), setting


def test_what_a_network_with_real_keys_finds_is_punished(kit: Any, beside: Any) -> None:
    """A member with two voices, and liars that hide certificates; each charge is tried on chain."""
    punished: dict[str, set[int]] = {}
    for seed, liar in enumerate((2, 1, 3)):
        court, setting = real_court(kit, beside, frozenset({liar}))
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
            for conviction in court.convictions(receipt):
                member = [court.key(i) for i in range(4)].index(conviction.key)
                punished.setdefault(kind[0], set()).add(member)
                assert member == liar
        assert court.stake(liar).amount == 0
        assert all(court.stake(i).amount == ETHER for i in range(4) if i != liar)
    print({kind: sorted(who) for kind, who in punished.items()})
    assert {"two-votes", "two-timeouts"} <= set(punished)
