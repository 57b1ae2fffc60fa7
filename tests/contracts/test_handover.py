"""Epochs that follow each other by the sitting committee's certificate alone (O8, O11, O12)."""

from dataclasses import replace
from typing import Any

import pytest
from blspy import PopSchemeMPL

from aggregation.table import FeedTable
from consensus.committee import EpochContext
from consensus.handover import terms_of
from contracts import client, epochs
from contracts.points import decompress_g2

DECIDING_ID = b"\xde" * 32


def follower(kit: Any, committee: Any, **changes: Any) -> Any:
    """Return the next epoch's committee: two members stay, others come, two feeds are added."""
    parts: dict[str, Any] = {
        "n": 5,
        "first_key": 2,
        "table": kit.feed_table(6),
        "valid_until_ms": committee.valid_until_ms + 86_400_000,
        "epoch": committee.epoch + 1,
        "genesis": committee.genesis or committee,
    }
    return kit.Committee(**(parts | changes))


def terms(
    kit: Any, old: Any, new: Any, signers: Any = None, at_ms: int = 0, **changes: Any
) -> epochs.HandoverTerms:
    """Return what the old committee signs, signed by these members."""
    at_ms = at_ms or kit.NOW_MS
    context = EpochContext(old.network, old.epoch, old.configuration, bytes(32), 0)
    digest = terms_of(context, new.configuration.hash, DECIDING_ID, at_ms).digest
    signers = range(old.n) if signers is None else signers
    shares = [PopSchemeMPL.sign(old.keys[i], digest) for i in signers]
    made = epochs.HandoverTerms(
        DECIDING_ID,
        at_ms,
        sum(1 << i for i in signers),
        decompress_g2(bytes(PopSchemeMPL.aggregate(shares))),
    )
    return replace(made, **changes)


def calldata(new: Any, signed: epochs.HandoverTerms) -> bytes:
    return epochs.encode_handover(new.epoch, new.configuration, new.table, signed)


def hand_over(oracle: Any, kit: Any, new: Any) -> Any:
    for call in new.registrations():
        assert oracle.send(call, gas=2**24).succeeded
    receipt = oracle.send(calldata(new, terms(kit, oracle.committee, new)), gas=2**24)
    assert receipt.succeeded, client.describe_error(receipt.output)
    assert client.decode_stored_flag(receipt.output)
    oracle.committee = new
    return receipt


def error(receipt: Any) -> str:
    assert not receipt.succeeded
    return str(client.decode_error(receipt.output))


def report(committee: Any, kit: Any, step: int) -> Any:
    return committee.report(observed_at_ms=kit.NOW_MS + 250 * step, view=1 + step)


def test_the_next_committee_follows(oracle: Any, kit: Any) -> None:
    old = oracle.committee
    last = report(old, kit, 1)
    assert oracle.push(last).succeeded
    new = follower(kit, old)
    receipt = hand_over(oracle, kit, new)
    print(f"handover to 5 members and 6 feeds: {receipt.gas_used:,} gas")
    (log,) = receipt.logs
    assert epochs.decode_opened(log.topics, log.data) == epochs.Opened(
        1, new.domain, new.configuration.hash, DECIDING_ID, kit.NOW_MS
    )
    assert oracle.get("network") == old.network
    assert oracle.get("domain") == new.domain
    assert oracle.get("configurationHash") == new.configuration.hash
    assert client.decode_integer(oracle.get("feedCount")) == 6
    assert epochs.decode_committee(oracle.get("committee")) == epochs.CommitteeDescription(
        5, new.quorum, new.valid_until_ms
    )
    for number, committee in ((0, old), (1, new)):
        data = oracle.chain.call(oracle.address, epochs.encode_epoch_at(number))
        assert epochs.decode_epoch_at(data).domain == committee.domain
    # What was stored stays, and new feeds have no price yet.
    assert oracle.stored() == client.StoredPlace(1, 0, last.header.observed_at_ms)
    assert [oracle.latest(feed).price for feed in range(6)] == [1000, 1001, 1002, 1003, 0, 0]
    fresh = report(new, kit, 2)
    assert client.decode_stored_flag(oracle.push(fresh).output)
    assert oracle.stored() == client.StoredPlace(1, 3, fresh.header.observed_at_ms)
    assert oracle.latest(5).price == 1005


def test_time_goes_on_across_epochs(oracle: Any, kit: Any) -> None:
    old = oracle.committee
    assert oracle.push(report(old, kit, 5)).succeeded
    new = follower(kit, old)
    hand_over(oracle, kit, new)
    assert not client.decode_stored_flag(oracle.push(report(new, kit, 5)).output)
    assert client.decode_stored_flag(oracle.push(report(new, kit, 6)).output)


def test_a_closed_epoch_stores_nothing(oracle: Any, kit: Any) -> None:
    """A transmitter that comes too late loses its gas, not its transaction."""
    old = oracle.committee
    posted = report(old, kit, 3)
    assert oracle.post(posted).succeeded
    hand_over(oracle, kit, follower(kit, old))
    late = report(old, kit, 9)
    for receipt in (oracle.push(late), oracle.post(late), oracle.update(late.update(0))):
        assert receipt.succeeded
        assert receipt.logs == ()
        assert client.decode_integer(receipt.output) == 0
        assert receipt.gas_used < 40_000
    # Roots that the epoch left behind are gone.
    assert error(oracle.prove(posted, 0)) == f"NotPosted(observedAt={posted.header.observed_at_ms})"
    # Nor does its certificate count under the new epoch's number.
    assert error(oracle.push(late, epoch=1)).startswith(("BadSignature", "BelowQuorum"))


def test_several_handovers_in_a_row(oracle: Any, kit: Any) -> None:
    for step in range(1, 4):
        new = follower(kit, oracle.committee, first_key=step, n=4 + step)
        hand_over(oracle, kit, new)
        assert oracle.push(report(new, kit, step)).succeeded
        assert oracle.stored().epoch == step


def test_a_handover_again_returns_false(oracle: Any, kit: Any) -> None:
    new = follower(kit, oracle.committee)
    signed = terms(kit, oracle.committee, new)
    hand_over(oracle, kit, new)
    receipt = oracle.send(calldata(new, replace(signed, signature=bytes(192))))
    assert receipt.succeeded
    assert not client.decode_stored_flag(receipt.output)


def test_an_epoch_is_not_skipped(oracle: Any, kit: Any) -> None:
    new = replace(follower(kit, oracle.committee), epoch=2)
    receipt = oracle.send(calldata(new, terms(kit, oracle.committee, new)))
    assert error(receipt) == "EpochAhead(epoch=2, current=0)"


@pytest.mark.parametrize("n", [4, 5, 7])
def test_a_quorum_of_the_sitting_committee_must_sign(kit: Any, n: int) -> None:
    old = kit.Committee(n=n)
    oracle = kit.deploy(old)
    new = follower(kit, old)
    for call in new.registrations():
        assert oracle.send(call, gas=2**24).succeeded
    few = terms(kit, old, new, range(old.quorum - 1))
    text = error(oracle.send(calldata(new, few)))
    assert text == f"BelowQuorum(signers={old.quorum - 1}, quorum={old.quorum})"
    beyond = replace(few, signers=few.signers | 1 << n)
    assert error(oracle.send(calldata(new, beyond))).startswith("UnknownSigner")
    by_the_new = terms(kit, replace(new, epoch=0, genesis=None), new)
    assert not oracle.send(calldata(new, by_the_new)).succeeded
    enough = terms(kit, old, new, range(n - old.quorum, n))
    assert oracle.send(calldata(new, enough), gas=2**24).succeeded


def test_whatever_is_signed_counts(oracle: Any, kit: Any) -> None:
    old, new = oracle.committee, follower(kit, oracle.committee)
    for call in new.registrations():
        assert oracle.send(call, gas=2**24).succeeded
    good = terms(kit, old, new)
    other = follower(kit, old, valid_until_ms=old.valid_until_ms + 5)
    for signed in (
        replace(good, deciding_id=b"\xdf" * 32),
        replace(good, decided_at_ms=good.decided_at_ms + 1),
        terms(kit, old, other),
        replace(good, signers=0b0111),
    ):
        assert error(oracle.send(calldata(new, signed))).startswith("BadSignature")
    # A report's certificate is no handover.
    words = old.report().signature
    assert error(oracle.send(calldata(new, replace(good, signature=words)))).startswith("Bad")
    assert oracle.send(calldata(new, good), gas=2**24).succeeded


def test_new_members_prove_their_keys_here(oracle: Any, kit: Any) -> None:
    """O8: the certificate does not stand in for the proofs."""
    old, new = oracle.committee, follower(kit, oracle.committee)
    signed = calldata(new, terms(kit, old, new))
    # Members 2 and 3 are known from the first epoch.
    assert error(oracle.send(signed, gas=2**24)) == "NotRegistered(member=2)"
    rest = list(epochs.encode_register(new.members[2:], new.proofs[2:]))
    assert oracle.send(rest[0], gas=2**24).succeeded
    assert oracle.send(signed, gas=2**24).succeeded


def test_feeds_are_only_appended(oracle: Any, kit: Any) -> None:
    """O12, whatever a quorum signs."""
    old = oracle.committee
    feeds = kit.feed_table(6).feeds
    pairs = (("A9", "USD"), ("A3", "EUR"))
    (other_base, other_quote) = (
        replace(
            feed,
            base=base,
            quote=quote,
            sources=tuple(replace(source, base=base, quote=quote) for source in feed.sources),
        )
        for feed, (base, quote) in zip(feeds[2:4], pairs, strict=True)
    )
    renamed = (*feeds[:2], other_base, *feeds[3:])
    requoted = (*feeds[:3], other_quote, *feeds[4:])
    rescaled = (replace(feeds[0], decimals=8), *feeds[1:])
    swapped = (feeds[1], feeds[0], *feeds[2:])
    for table, text in (
        (renamed, "FeedChanged(feed=2)"),
        (requoted, "FeedChanged(feed=3)"),
        (rescaled, "FeedChanged(feed=0)"),
        (swapped, "FeedChanged(feed=0)"),
        (feeds[:3], "FeedTableSize(feeds=3, least=4)"),
    ):
        new = follower(kit, old, table=FeedTable(tuple(table)))
        receipt = oracle.send(calldata(new, terms(kit, old, new)), gas=2**24)
        assert error(receipt) == text
    retuned = (replace(feeds[0], tier=3, deviation_ppm=77), *feeds[1:4])
    hand_over(oracle, kit, follower(kit, old, table=FeedTable(retuned)))
    output = oracle.chain.call(oracle.address, client.encode_feed(0))
    assert client.decode_feed(output).tier == 3


def test_the_term_of_the_sitting_committee(oracle: Any, kit: Any) -> None:
    old = oracle.committee
    short = follower(kit, old, valid_until_ms=old.valid_until_ms)
    text = error(oracle.send(calldata(short, terms(kit, old, short))))
    assert text.startswith("OutOfRange(what=validUntil")
    new = follower(kit, old)
    ahead = terms(kit, old, new, at_ms=kit.NOW_MS + 10**7)
    assert error(oracle.send(calldata(new, ahead))).startswith("FromTheFuture")
    good = terms(kit, old, new)
    oracle.chain.set_timestamp(old.valid_until_ms // 1000 + 1)
    assert error(oracle.send(calldata(new, good))).startswith("Expired")


def test_anyone_asks_who_signed_what(oracle: Any, kit: Any) -> None:
    committee = oracle.committee
    digest = b"\x31" * 32

    def signed(members: list[int], claimed: int, message: bytes = digest) -> bool:
        shares = [PopSchemeMPL.sign(committee.keys[i], message) for i in members]
        signature = decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
        asked = epochs.encode_is_signed(0, digest, claimed, signature)
        return bool(client.decode_integer(oracle.chain.call(oracle.address, asked)))

    assert signed([2], 0b0100)
    assert signed([0, 3], 0b1001)
    assert signed([0, 1, 2, 3], 0b1111)
    assert not signed([2], 0b0010)
    assert not signed([0, 3], 0b1000)
    assert not signed([2], 0b0100, b"\x32" * 32)
