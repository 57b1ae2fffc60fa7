"""What a push stores, and what a push that is not newer does not (O1 to O5)."""

from typing import Any

import pytest

from contracts import client


def test_a_certified_report_is_stored_verbatim(oracle: Any, kit: Any) -> None:
    committee = oracle.committee
    report = committee.report(view=9)
    receipt = oracle.push(report)
    assert receipt.succeeded
    assert client.decode_stored_flag(receipt.output)
    assert oracle.stored() == client.StoredPlace(0, 9, kit.NOW_MS)
    assert oracle.word(0) == report.words[0]
    (log,) = receipt.logs
    event = client.decode_pushed(log.topics, log.data)
    assert event == client.Pushed(client.Place(0, 9, kit.NOW_MS, 0b1111))
    assert client.decode_push(report.calldata) == client.PushCall(report.certificate, report.words)
    for i in range(4):
        assert oracle.latest(i) == client.StoredAnswer(1000 + i, 100, 1, kit.NOW_MS)


@pytest.mark.parametrize("feeds", [1, 5, 12, 13])
def test_all_words_of_larger_tables_are_stored(kit: Any, feeds: int) -> None:
    committee = kit.Committee(table=kit.feed_table(feeds))
    oracle = kit.deploy(committee)
    report = committee.report()
    assert oracle.push(report).succeeded
    assert len(report.words) == -(-feeds // 4)
    for i, word in enumerate(report.words):
        # The answer of a single feed stands in the head alone.
        assert oracle.word(i) == (word if feeds > 1 else 0)
    assert oracle.word(len(report.words)) == 0
    assert oracle.latest(feeds - 1).price == 1000 + feeds - 1
    assert client.decode_integer(oracle.get("feedCount")) == feeds


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10])
def test_any_quorum_suffices(kit: Any, n: int) -> None:
    committee = kit.Committee(n=n)
    oracle = kit.deploy(committee)
    quorum = committee.quorum
    choices = [range(n), range(quorum), range(n - quorum, n), range(0, n)[::-1][:quorum]]
    for step, signers in enumerate(choices):
        report = committee.report(observed_at_ms=kit.NOW_MS + step, signers=list(signers))
        assert client.decode_stored_flag(oracle.push(report).output), list(signers)
        assert oracle.stored().observed_at_ms == kit.NOW_MS + step


def test_every_single_member_may_be_absent(kit: Any) -> None:
    committee = kit.Committee(n=13)
    oracle = kit.deploy(committee)
    for absent in range(13):
        signers = [i for i in range(13) if i not in (absent, (absent + 5) % 13)]
        report = committee.report(observed_at_ms=kit.NOW_MS + absent, signers=signers)
        assert client.decode_stored_flag(oracle.push(report).output)


def test_a_report_that_is_not_newer_returns_false(oracle: Any, kit: Any) -> None:
    committee = oracle.committee
    report = committee.report(observed_at_ms=kit.NOW_MS, view=5)
    assert oracle.push(report).succeeded
    before = oracle.snapshot()
    other = [kit.word_of(kit.answer(7))]
    for stale in (
        report,
        committee.report(other, kit.NOW_MS, 6),
        committee.report(other, kit.NOW_MS - 1, 7),
        committee.report(other, 0, 8),
    ):
        receipt = oracle.push(stale)
        assert receipt.succeeded
        assert not client.decode_stored_flag(receipt.output)
        assert receipt.logs == ()
        assert receipt.gas_used < 35_000
        assert oracle.snapshot() == before


def test_what_is_not_newer_is_not_looked_at(oracle: Any, kit: Any) -> None:
    """Neither words nor signature of a late report can make a transmitter's call revert."""
    report = oracle.committee.report()
    assert oracle.push(report).succeeded
    for changes in ({"signature": bytes(192)}, {"words": ()}, {"bitmap": 0}):
        receipt = oracle.push(report, **changes)
        assert receipt.succeeded
        assert not client.decode_stored_flag(receipt.output)
        assert receipt.gas_used < 35_000


def test_a_lower_view_with_a_newer_time_is_taken(oracle: Any, kit: Any) -> None:
    committee = oracle.committee
    assert oracle.push(committee.report(view=9)).succeeded
    newer = committee.report(observed_at_ms=kit.NOW_MS + 1, view=8)
    assert client.decode_stored_flag(oracle.push(newer).output)
    assert oracle.stored() == client.StoredPlace(0, 8, kit.NOW_MS + 1)


def test_skewed_clocks_lead_the_block_by_the_tolerance_and_no_more(oracle: Any, kit: Any) -> None:
    committee = oracle.committee
    at = kit.CHAIN_TIME + 100
    latest = at * 1000 + kit.MAX_FUTURE_MS
    oracle.chain.set_timestamp(at)
    receipt = oracle.push(committee.report(observed_at_ms=latest + 1))
    assert not receipt.succeeded
    assert str(client.decode_error(receipt.output)) == (
        f"FromTheFuture(observedAt={latest + 1}, latestAllowed={latest})"
    )
    oracle.chain.set_timestamp(at + 1)
    assert oracle.push(committee.report(observed_at_ms=latest + 1000)).succeeded
    oracle.chain.set_timestamp(at + 2)
    receipt = oracle.push(committee.report(observed_at_ms=2**63 - 1))
    assert client.decode_error(receipt.output).name == "FromTheFuture"


def test_nothing_is_taken_after_the_term(oracle: Any, kit: Any) -> None:
    committee = oracle.committee
    end = kit.VALID_UNTIL_MS
    oracle.chain.set_timestamp(end // 1000 - 1)
    late = oracle.push(committee.report(observed_at_ms=end + 1))
    assert str(client.decode_error(late.output)) == f"Expired(validUntil={end}, time={end + 1})"
    oracle.chain.set_timestamp(end // 1000)
    assert oracle.push(committee.report(observed_at_ms=end)).succeeded


def test_an_old_report_is_not_taken_after_the_term_either(oracle: Any, kit: Any) -> None:
    """Keys may leak once they are worth nothing, and then sign into the past."""
    end = kit.VALID_UNTIL_MS
    oracle.chain.set_timestamp(end // 1000 + 1)
    late = oracle.push(oracle.committee.report(observed_at_ms=end - 5))
    assert str(client.decode_error(late.output)) == f"Expired(validUntil={end}, time={end + 1000})"
    assert oracle.stored().observed_at_ms == 0


def test_anyone_may_push(oracle: Any) -> None:
    stranger = oracle.chain.accounts[7]
    calldata = oracle.committee.report().calldata
    assert oracle.chain.transact(oracle.address, calldata, sender=stranger).succeeded


def test_nobody_has_a_key_to_it() -> None:
    """O7: what writes follows from certificates, proofs and hashes; there is no fallback."""
    from contracts import abi

    entries = abi.artifact("Oracle")["abi"]
    writing = {
        entry["name"]
        for entry in entries
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    assert writing == {"push", "post", "prove", "update", "use", "register", "open", "handover"}
    assert {entry["type"] for entry in entries} == {"constructor", "function", "event", "error"}
    runtime = bytes.fromhex(abi.artifact("Oracle")["deployedBytecode"][2:])
    assert len(runtime) <= 24_576, "EIP-170"
    # CALLER, ORIGIN, DELEGATECALL, CALLCODE, SELFDESTRUCT, CREATE2 and CALL stand nowhere as
    # instructions: nobody is anybody, and no code but its own runs.
    assert not {0x33, 0x32, 0xF4, 0xF2, 0xFF, 0xF5, 0xF1} & set(instructions(runtime))


def instructions(code: bytes) -> list[int]:
    found, place = [], 0
    while place < len(code):
        found.append(code[place])
        place += code[place] - 0x5E if 0x60 <= code[place] <= 0x7F else 1
    return found
