"""Answers that are posted and proven, or updated, beside those that are pushed (O1 to O5)."""

from dataclasses import replace
from typing import Any

import pytest

from contracts import client


@pytest.fixture
def wide(kit: Any) -> Any:
    """An Oracle of twelve feeds."""
    return kit.deploy(kit.Committee(table=kit.feed_table(12)))


def report(oracle: Any, kit: Any, step: int, view: int | None = None) -> Any:
    """Return a report in which feed i's price is 1000 step + i."""
    words = [
        kit.word_of(*(kit.answer(1000 * step + 4 * w + i) for i in range(4))) for w in range(3)
    ]
    return oracle.committee.report(words, kit.NOW_MS + 250 * step, view or 100 + step)


def stored(receipt: Any) -> bool:
    assert receipt.succeeded, client.describe_error(receipt.output)
    return client.decode_stored_flag(receipt.output)


def error(receipt: Any) -> str:
    assert not receipt.succeeded
    return str(client.decode_error(receipt.output))


def held(oracle: Any, report: Any) -> client.PostedReport | None:
    calldata = client.encode_posted(report.header.observed_at_ms)
    return client.decode_posted_report(oracle.chain.call(oracle.address, calldata))


def at(oracle: Any, feed: int) -> tuple[int, int]:
    answer = oracle.latest(feed)
    return answer.price, answer.observed_at_ms


def test_a_post_changes_no_answer(wide: Any, kit: Any) -> None:
    first, second = report(wide, kit, 1), report(wide, kit, 2)
    assert stored(wide.push(first))
    receipt = wide.post(second)
    assert stored(receipt)
    (log,) = receipt.logs
    identity = second.header.id(wide.committee.domain)
    assert client.decode_posted(log.topics, log.data) == client.Posted(
        second.certificate.place, identity, second.header.feed_root, updated=False
    )
    for feed in range(12):
        assert at(wide, feed) == (1000 + feed, first.header.observed_at_ms)
    assert wide.stored().view == 101
    assert client.decode_integer(wide.get("postedAt")) == second.header.observed_at_ms
    assert held(wide, second) == client.PostedReport(3, second.header.feed_root[:24])
    assert held(wide, first) is None


def test_each_proof_moves_its_pair_alone(wide: Any, kit: Any) -> None:
    first, second = report(wide, kit, 1), report(wide, kit, 2)
    assert stored(wide.push(first))
    assert stored(wide.post(second))
    moved: set[int] = set()
    for feed in (0, 7, 10):
        receipt = wide.prove(second, feed)
        assert stored(receipt)
        assert receipt.gas_used < 55_000
        moved |= {feed, feed ^ 1}
        for other in range(12):
            step = 2 if other in moved else 1
            expected = (1000 * step + other, kit.NOW_MS + 250 * step)
            assert at(wide, other) == expected
    assert not stored(wide.prove(second, 1))


def test_a_read_serves_the_newest_of_the_three(wide: Any, kit: Any) -> None:
    reports = {step: report(wide, kit, step) for step in range(1, 7)}
    assert stored(wide.push(reports[1]))
    assert stored(wide.post(reports[4]))
    assert stored(wide.prove(reports[4], 5))
    # A push between the two leaves what is newer.
    assert stored(wide.push(reports[3]))
    assert [at(wide, feed)[0] for feed in (4, 5, 6)] == [4004, 4005, 3006]
    assert wide.update(reports[5].update(6)).succeeded
    assert [at(wide, feed)[0] for feed in (4, 5, 6, 7)] == [4004, 4005, 5006, 5007]
    assert stored(wide.push(reports[6]))
    assert [at(wide, feed)[0] for feed in range(12)] == [6000 + feed for feed in range(12)]


def test_the_first_feed_too(kit: Any) -> None:
    """Its answer stands in the head."""
    oracle = kit.deploy(kit.Committee(table=kit.feed_table(1)))
    committee = oracle.committee
    reports = [
        committee.report([kit.word_of(kit.answer(10 + step))], kit.NOW_MS + step, 1 + step)
        for step in range(4)
    ]
    assert stored(oracle.push(reports[0]))
    assert stored(oracle.post(reports[1]))
    assert oracle.latest(0).price == 10
    assert stored(oracle.prove(reports[1], 0))
    assert oracle.latest(0).price == 11
    assert stored(oracle.push(reports[3]))
    assert not stored(oracle.post(reports[2]))
    assert oracle.latest(0).price == 13


def test_what_is_not_newer_than_anything_stored_is_not_posted(wide: Any, kit: Any) -> None:
    reports = [report(wide, kit, step) for step in range(5)]
    assert stored(wide.post(reports[3]))
    before = wide.snapshot()
    for old in (reports[3], reports[2], reports[0]):
        receipt = wide.post(old, signature=bytes(192))
        assert not stored(receipt)
        assert receipt.gas_used < 40_000
    assert wide.snapshot() == before
    assert stored(wide.push(reports[4]))
    assert not stored(wide.post(reports[4]))


def test_proofs_from_the_last_seventeen_posts(wide: Any, kit: Any) -> None:
    """At regular intervals: 17 is a prime, so each takes a place of its own."""
    reports = [report(wide, kit, step, view=7) for step in range(1, 19)]
    for posted in reports:
        assert stored(wide.post(posted))
    assert error(wide.prove(reports[0], 0)).startswith("NotPosted(")
    assert [held(wide, one) is not None for one in reports] == [False] + [True] * 17
    assert stored(wide.prove(reports[1], 0))
    assert at(wide, 0)[0] == 2000
    assert stored(wide.prove(reports[17], 0))
    assert not stored(wide.prove(reports[2], 0))
    assert at(wide, 0)[0] == 18000


def sibling(oracle: Any, kit: Any, of: Any) -> Any:
    """Return another certified report of the same time, in which feed i's price is 7 i."""
    words = [kit.word_of(*(kit.answer(1 + 7 * (4 * w + i)) for i in range(4))) for w in range(3)]
    return oracle.committee.report(words, of.header.observed_at_ms, of.header.view + 1)


@pytest.mark.parametrize("newer", [False, True], ids=["newest", "newer posted"])
def test_of_one_time_a_feed_has_one_answer(wide: Any, kit: Any, newer: bool) -> None:
    """Two certified siblings of one time, posted, proven, updated and pushed (O3)."""
    first = report(wide, kit, 1)
    second = sibling(wide, kit, first)
    assert stored(wide.post(first))
    assert stored(wide.prove(first, 0))
    assert client.decode_integer(wide.update(second.update(4)).output) == 1
    if newer:
        assert stored(wide.post(report(wide, kit, 2)))
    assert stored(wide.push(second))
    served = [1000, 1001, *(1 + 7 * feed for feed in range(2, 12))]
    assert [at(wide, feed)[0] for feed in range(12)] == served
    # Nothing is left to prove of that time, and trying does no harm.
    before = wide.snapshot()
    for feed in (0, 4, 8):
        receipt = wide.prove(first, feed)
        assert not stored(receipt)
        assert receipt.gas_used < 30_000
    assert client.decode_integer(wide.update(first.update(8)).output) == 0
    assert held(wide, first) is None
    assert wide.snapshot() == before
    assert {at(wide, feed)[1] for feed in range(12)} == {first.header.observed_at_ms}
    if newer:
        assert stored(wide.prove(report(wide, kit, 2), 8))
        assert at(wide, 8)[0] == 2008


def test_what_is_not_in_the_posted_report_is_not_proven(wide: Any, kit: Any) -> None:
    posted = report(wide, kit, 1)
    at_ms = posted.header.observed_at_ms
    calldata = client.encode_prove(at_ms, client.claim_of(5, posted.words))
    assert error(wide.send(calldata)) == f"NotPosted(observedAt={at_ms})"
    assert stored(wide.post(posted))
    claim = client.claim_of(5, posted.words)
    for wrong in (
        replace(claim, word=claim.word ^ 1),
        replace(claim, feed=1),
        replace(claim, path=claim.path[::-1]),
        client.claim_of(5, report(wide, kit, 2).words),
    ):
        assert error(wide.send(client.encode_prove(at_ms, wrong))).startswith("NotInReport(")
    for wrong in (replace(claim, feed=12), replace(claim, path=claim.path[:1])):
        assert error(wide.send(client.encode_prove(at_ms, wrong))).startswith("PathLength(")
    for other in (at_ms + 1, at_ms + client.PROVABLE_POSTS):
        assert error(wide.send(client.encode_prove(other, claim))).startswith("NotPosted")
    assert stored(wide.send(client.encode_prove(at_ms, claim)))


def test_a_post_needs_a_certificate(wide: Any, kit: Any) -> None:
    good = report(wide, kit, 1)
    assert error(wide.post(good, bitmap=0b11)) == "BelowQuorum(signers=2, quorum=3)"
    header = good.header
    other = kit.Header(header.view, header.observed_at_ms, b"\x01" * 32, header.link)
    assert error(wide.post(good, header=other)).startswith("BadSignature")
    late = wide.committee.report(observed_at_ms=kit.NOW_MS + 10**9)
    assert error(wide.post(late)).startswith("FromTheFuture")
    assert stored(wide.post(good))


def test_an_update_stores_the_claimed_answers(wide: Any, kit: Any) -> None:
    assert stored(wide.push(report(wide, kit, 1)))
    second = report(wide, kit, 2)
    receipt = wide.update(second.update(0, 6, 11))
    assert client.decode_integer(receipt.output) == 3
    (log,) = receipt.logs
    event = client.decode_posted(log.topics, log.data)
    assert event is not None
    assert event.updated
    assert event.place == second.certificate.place
    steps = [2, 2, 1, 1, 1, 1, 2, 2, 1, 1, 2, 2]
    assert [at(wide, feed)[0] for feed in range(12)] == [
        1000 * step + feed for feed, step in enumerate(steps)
    ]
    # It cannot be proven from: nobody posted it.
    assert error(wide.prove(second, 4)).startswith("NotPosted")


def test_stale_entries_of_a_batch_cost_little_and_revert_nothing(wide: Any, kit: Any) -> None:
    reports = [report(wide, kit, step) for step in range(6)]
    assert stored(wide.push(reports[2]))
    stale = replace(reports[1], signature=bytes(192)).update(0, 4)
    same = replace(reports[2], signature=bytes(192)).update(8)
    receipt = wide.update(stale, same)
    assert client.decode_integer(receipt.output) == 0
    assert receipt.gas_used < 55_000
    alone = wide.update(reports[3].update(0)).gas_used
    receipt = wide.update(stale, reports[4].update(0), same)
    assert client.decode_integer(receipt.output) == 1
    assert receipt.gas_used < alone + 25_000
    assert at(wide, 0)[0] == 4000
    # Newer for one feed, older for another: each keeps its newest.
    assert client.decode_integer(wide.update(reports[3].update(0, 4)).output) == 1
    assert [at(wide, feed)[0] for feed in (0, 4)] == [4000, 3004]


def test_one_batch_of_several_reports(wide: Any, kit: Any) -> None:
    reports = [report(wide, kit, step) for step in range(1, 4)]
    receipt = wide.update(reports[1].update(0), reports[0].update(0, 4), reports[2].update(8))
    assert client.decode_integer(receipt.output) == 3
    assert [at(wide, feed)[0] for feed in (0, 4, 8)] == [2000, 1004, 3008]
    assert client.decode_integer(wide.get("postedAt")) == reports[2].header.observed_at_ms


def test_what_an_update_refuses(wide: Any, kit: Any) -> None:
    good, other, earlier = (report(wide, kit, step) for step in (1, 2, 0))
    before = wide.snapshot()
    mixed = client.Update(
        good.certificate, (client.claim_of(0, good.words), client.claim_of(4, other.words))
    )
    for update, text in (
        (good.update(), "NoClaims()"),
        (mixed, "RootsDiffer("),
        (replace(good, bitmap=0b1001).update(0), "BelowQuorum(signers=2, quorum=3)"),
        (replace(good, words=other.words).update(0), "BadSignature("),
        (replace(good, epoch=1).update(0), "EpochAhead(epoch=1, current=0)"),
        (wide.committee.report(observed_at_ms=kit.VALID_UNTIL_MS).update(0), "FromTheFuture("),
    ):
        assert error(wide.update(update)).startswith(text)
        assert error(wide.update(earlier.update(0), update)).startswith(text)
    assert wide.snapshot() == before


@pytest.mark.parametrize("function", ["post", "update"])
def test_the_term_holds_for_every_way(wide: Any, kit: Any, function: str) -> None:
    wide.chain.set_timestamp(kit.VALID_UNTIL_MS // 1000 + 1)
    late = report(wide, kit, 1)
    receipt = wide.post(late) if function == "post" else wide.update(late.update(0))
    assert error(receipt).startswith("Expired(")
