"""The first final report after a moment, shown by headers and one certificate (O14)."""

from dataclasses import replace
from typing import Any

import pytest
from blspy import PopSchemeMPL

from consensus.digests import genesis_id, link_digest
from consensus.messages import Header
from contracts import client, epochs, finality
from contracts.finality import FinalAnswer, FinalProof, LinkedBlock
from contracts.points import decompress_g2
from testnet.chain.evm import Reverted


class History:
    """A chain of blocks at these views, each 250 ms and 100 units of price after the one before."""

    def __init__(
        self, kit: Any, committee: Any, views: list[int], genesis: Header, start: int = 0
    ) -> None:
        self.kit, self.committee = kit, committee
        self.headers = [genesis]
        self.blocks: list[LinkedBlock] = []
        self.words: list[list[int]] = []
        parent_id, parent_view = genesis.link, 0
        for height, view in enumerate(views, 1):
            at_ms = kit.NOW_MS + 250 * (start + height)
            words = [kit.word_of(*(kit.answer(100 * height + i) for i in range(4)))]
            made = committee.header(words, at_ms, view)
            state, payload = bytes([height]) * 32, bytes([0x80 | height]) * 32
            link = link_digest(parent_id, parent_view, height, state, payload)
            header = Header(view, at_ms, made.feed_root, link)
            self.headers.append(header)
            self.words.append(words)
            self.blocks.append(LinkedBlock(view, at_ms, made.feed_root, height, state, payload))
            parent_id, parent_view = header.id(committee.domain), view

    def proof(self, first: int, last: int, signers: list[int] | None = None) -> FinalProof:
        """Prove block `first` (from 1) by the certificate of block `last`."""
        header = self.headers[last]
        report = self.committee.sign(header, (), signers)
        return FinalProof(
            self.committee.epoch,
            self.headers[first - 1],
            tuple(self.blocks[first - 1 : last]),
            report.bitmap,
            report.signature,
        )

    def claim(self, number: int, feed: int = 0) -> client.Claim:
        return client.claim_of(feed, self.words[number - 1])

    def time(self, number: int) -> int:
        return self.headers[number].observed_at_ms


def genesis_of(committee: Any, deciding: bytes = bytes(32)) -> Header:
    return Header(0, 0, bytes(32), genesis_id(committee.domain, deciding, b"\x59" * 32))


@pytest.fixture
def history(oracle: Any, kit: Any) -> History:
    """Views 1, 2, 4, 6, 7, 8: rounds 3 and 5 failed."""
    return History(kit, oracle.committee, [1, 2, 4, 6, 7, 8], genesis_of(oracle.committee))


def ask(oracle: Any, calldata: bytes) -> FinalAnswer | str:
    try:
        return finality.decode_final_answer(oracle.chain.call(oracle.address, calldata))
    except Reverted as reverted:
        return str(client.decode_error(reverted.data))


def first_after(
    oracle: Any, history: History, time: int, first: int, last: int, feed: int = 0
) -> FinalAnswer | str:
    proof = history.proof(first, last)
    return ask(oracle, finality.encode_first_after(time, proof, history.claim(first, feed)))


def test_the_first_final_report_after_a_moment(oracle: Any, history: History) -> None:
    answer = FinalAnswer(history.time(3), history.time(4), 402, 100, 1)
    for moment in (history.time(3), history.time(3) + 1, history.time(4) - 1):
        assert first_after(oracle, history, moment, 4, 5, feed=2) == answer
    # Any certificate above says the same.
    assert first_after(oracle, history, history.time(3), 4, 6, feed=2) == answer
    places = f"previousAt={history.time(3)}, observedAt={history.time(4)}"
    for moment in (history.time(3) - 1, history.time(4), history.time(5)):
        assert first_after(oracle, history, moment, 4, 5) == (
            f"NotFirstAfter(time={moment}, {places})"
        )


def test_a_report_whose_child_skips_a_view_is_final_by_its_descendants(
    oracle: Any, history: History
) -> None:
    """Block 2 (view 2) has a child in view 4, block 3 (view 4) one in view 6."""
    assert first_after(oracle, history, history.time(1), 2, 3) == "NotFinal(blocks=2)"
    assert first_after(oracle, history, history.time(1), 2, 4) == "NotFinal(blocks=3)"
    answer = first_after(oracle, history, history.time(1), 2, 5)
    assert answer == FinalAnswer(history.time(1), history.time(2), 200, 100, 1)


def test_a_certified_report_alone_is_not_final(oracle: Any, history: History) -> None:
    assert first_after(oracle, history, history.time(3), 4, 4) == "NotFinal(blocks=1)"


def test_the_first_report_of_the_network(oracle: Any, history: History) -> None:
    answer = FinalAnswer(0, history.time(1), 100, 100, 1)
    assert first_after(oracle, history, history.time(1) - 1, 1, 2) == answer
    # Whatever is said of the genesis' time, the contract goes by its own.
    proof = history.proof(1, 2)
    lied = replace(proof, parent=Header(0, 10**15, bytes(32), proof.parent.link))
    assert ask(oracle, finality.encode_final_answer(lied, history.claim(1))) == answer


def test_whatever_is_covered_counts(oracle: Any, kit: Any, history: History) -> None:
    proof, claim = history.proof(4, 6), history.claim(4)
    parent = proof.parent

    def refused(changed: FinalProof) -> str:
        answer = ask(oracle, finality.encode_final_answer(changed, claim))
        assert isinstance(answer, str), answer
        return answer.split("(")[0]

    for at in range(3):
        for field, value in (
            ("observed_at_ms", proof.blocks[at].observed_at_ms - 1),
            ("feed_root", b"\x01" * 32),
            ("height", 9),
            ("state_digest", bytes(32)),
            ("payload_digest", bytes(32)),
        ):
            blocks = list(proof.blocks)
            blocks[at] = replace(blocks[at], **{field: value})
            assert refused(replace(proof, blocks=tuple(blocks))) == "BadSignature"
    for changed in (
        Header(parent.view, parent.observed_at_ms - 500, parent.feed_root, parent.link),
        Header(parent.view + 1, parent.observed_at_ms, parent.feed_root, parent.link),
        Header(0, 0, bytes(32), parent.id(oracle.committee.domain)),
    ):
        assert refused(replace(proof, parent=changed)) == "BadSignature"
    assert refused(replace(proof, blocks=proof.blocks[::-1])) in ("NotFinal", "BadSignature")
    assert refused(replace(proof, epoch=1)) == "CommitteeMissing"
    assert refused(replace(proof, signers=0b11)) == "BelowQuorum"
    other = history.claim(5)
    assert str(ask(oracle, finality.encode_final_answer(proof, other))).startswith("NotInReport")


def test_the_view_of_the_pair_is_read_from_the_signed_header(oracle: Any, history: History) -> None:
    """A certified header whose view is only claimed to follow its parent's proves nothing."""
    proof = history.proof(2, 3)
    blocks = (proof.blocks[0], replace(proof.blocks[1], view=3))
    lied = replace(proof, blocks=blocks)
    text = str(ask(oracle, finality.encode_final_answer(lied, history.claim(2))))
    assert text.startswith("BadSignature")


def test_history_across_a_handover(oracle: Any, kit: Any) -> None:
    """The last report of an epoch and the first of the next follow each other in time."""
    old = oracle.committee
    before = History(kit, old, [1, 2, 3], genesis_of(old))
    new = kit.Committee(
        n=4, first_key=1, epoch=1, genesis=old, valid_until_ms=old.valid_until_ms + 1
    )
    for call in new.registrations():
        assert oracle.send(call, gas=2**24).succeeded
    deciding, decided_at = before.headers[2].id(old.domain), before.time(2)
    from consensus.committee import EpochContext
    from consensus.handover import terms_of

    context = EpochContext(old.network, 0, old.configuration, bytes(32), 0)
    digest = terms_of(context, new.configuration.hash, deciding, decided_at).digest
    shares = [PopSchemeMPL.sign(key, digest) for key in old.keys]
    signed = epochs.HandoverTerms(
        deciding, decided_at, 0b1111, decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
    )
    calldata = epochs.encode_handover(1, new.configuration, new.table, signed)
    assert oracle.send(calldata, gas=2**24).succeeded

    # The closed epoch still proves its own history.
    last = first_after(oracle, before, before.time(1), 2, 3)
    assert last == FinalAnswer(before.time(1), decided_at, 200, 100, 1)
    after = History(kit, new, [3, 4], genesis_of(new, deciding), start=2)
    after_first = first_after(oracle, after, decided_at, 1, 2)
    assert after_first == FinalAnswer(decided_at, after.time(1), 100, 100, 1)
    # But not for ever: keys may leak.
    end_ms = old.valid_until_ms + epochs.EVIDENCE_WINDOW_MS
    oracle.chain.mine(timestamp=end_ms // 1000 + 1)
    assert str(first_after(oracle, before, before.time(1), 2, 3)).startswith("Expired(")
