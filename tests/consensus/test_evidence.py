"""Offences are found by whichever half comes last, and proven to anyone; honest members do none."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import effects as fx
from consensus import messages as wire
from consensus.errors import InvalidMessage
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    InvalidEvidence,
    SignedTimeout,
    SignedVote,
    TwoTimeouts,
    TwoVotes,
    accused_by,
    decode_evidence,
    encode_evidence,
    kind_of,
    verify_evidence,
)
from consensus.messages import (
    EVIDENCE_BYTES_MAX,
    BlockResponse,
    Certificate,
    TimeoutGroup,
    Witnessed,
)
from consensus.types import MEMBERS_MAX
from consensus.witness import (
    ACCUSATIONS_MAX,
    ACCUSED_MAX,
    CERTIFICATES_TRIED_MAX,
    LINKS_MAX,
    SEEN_MAX,
    VIEWS_MAX,
)

Bench = Callable[..., Any]


def convicted(b: Any, effects: Iterable[Any]) -> dict[str, set[int]]:
    """Return who is proven to have done what; every accusation must verify."""
    found: dict[str, set[int]] = {}
    for effect in effects:
        if isinstance(effect, fx.Accusation):
            members = verify_evidence(b.context, effect.evidence, b.sign)
            assert members == effect.members
            found.setdefault(kind_of(effect.evidence), set()).update(members)
    return found


def fork(b: Any, view: int) -> tuple[Any, Any]:
    """Make two blocks of one view, certified by the first and by the last q members."""
    q, n = b.context.q, b.context.n
    one = b.make(view, signers=range(q))
    other = b.make(view, at_ms=b.now_ms + 9, signers=range(n - q, n))
    return one, other


# Two votes.


@pytest.mark.parametrize("n", [4, 5, 7])
def test_two_certificates_of_a_view_convict_whoever_signed_both(bench: Bench, n: int) -> None:
    b = bench(n)
    one, other = fork(b, 1)
    assert not convicted(b, b.give(b.others[0], Certificate(one.qc, None)))
    found = convicted(b, b.give(b.others[0], Certificate(other.qc, None)))
    common = set(range(b.context.q)) & set(range(n - b.context.q, n))
    assert found == {"two-votes": common}
    assert len(common) > b.context.f


def test_a_second_certificate_is_noticed_however_old_and_in_whatever_message(bench: Bench) -> None:
    b = bench()
    chain = b.chain(40)
    b.advance(chain)
    for view, message in (
        (3, lambda qc: Certificate(qc, None)),
        (5, lambda qc: b.timeout(b.others[1], 2, 0, qc)),
        (7, lambda qc: Certificate(chain[-1].qc, b.sign.tc(9, dict.fromkeys(range(3), 7), qc))),
    ):
        other = b.make(view, chain[view - 2], at_ms=b.now_ms + 70, signers=[1, 2, 3])
        found = convicted(b, b.give(b.others[1], message(other.qc)))
        assert found["two-votes"] >= {1, 2}


def test_a_second_certificate_inside_a_fetched_chain_is_noticed(bench: Bench) -> None:
    b = bench()
    ours = b.chain(3)
    b.advance(ours)
    theirs = b.make(2, ours[0], at_ms=b.now_ms + 50, signers=[1, 2, 3])
    tip = b.make(9, b.make(8, theirs))
    b.give(b.others[0], Certificate(tip.qc, None))
    b.core.on_fetch_timer(tip.block_id, b.now_ms)
    blocks = (tip.block, b.made[b.context.id_of(tip.block.justify)].block)
    asked = next(w for w in b.core._fetcher.all() if w.block_id == tip.block_id).asked
    effects = b.give(min(asked), BlockResponse(tip.block_id, blocks))
    assert convicted(b, effects)["two-votes"] >= {1, 2}


@pytest.mark.parametrize("certificate_first", [True, False])
def test_a_share_against_a_certificate(bench: Bench, *, certificate_first: bool) -> None:
    b = bench()
    one, other = fork(b, 1)
    member = next(m for m in b.others if m in (1, 2))
    steps = [
        lambda: b.give(b.others[0], Certificate(one.qc, None)),
        lambda: b.give(member, b.vote(member, other)),
    ]
    first, second = steps if certificate_first else steps[::-1]
    assert not convicted(b, first())
    assert convicted(b, second()) == {"two-votes": {member}}


def test_a_stale_share_against_a_certificate_is_noticed(bench: Bench) -> None:
    b = bench()
    chain = b.chain(20)
    b.advance(chain)
    other = b.make(4, chain[2], at_ms=b.now_ms + 70)
    member = next(m for m in b.others if m < 3)
    assert convicted(b, b.give(member, b.vote(member, other))) == {"two-votes": {member}}
    absent = next(m for m in (3, *b.others) if m not in range(3))
    if absent != b.me:
        assert not convicted(b, b.give(absent, b.vote(absent, other)))


def test_a_bad_share_is_laid_to_whoever_sent_it(bench: Bench) -> None:
    b = bench()
    one, other = fork(b, 1)
    b.give(b.others[0], Certificate(one.qc, None))
    member = next(m for m in b.others if m in (1, 2))
    forged = msgspec.structs.replace(b.vote(member, other), share=b.sign.share(3, other.block_id))
    (accusation,) = [e for e in b.give(member, forged) if isinstance(e, fx.Accusation)]
    assert accusation.witness == member
    with pytest.raises(InvalidEvidence):
        verify_evidence(b.context, accusation.evidence, b.sign)


# A hidden certificate.


def _hidden(b: Any) -> tuple[list[Any], Any]:
    """Return a chain whose last block, of view 5, has its parent in view 4, and a TC of view 7."""
    chain = b.chain(5)
    low = b.sign.tc(7, {0: 4, 1: 3, 2: 3}, chain[3].qc)
    return chain, low


def test_a_tc_that_hides_what_its_signers_voted_on(bench: Bench) -> None:
    b = bench()
    chain, low = _hidden(b)
    b.advance(chain)
    effects = b.give(b.others[0], Certificate(chain[-1].qc, low))
    assert convicted(b, effects) == {"hidden-certificate": {1, 2}}


def test_a_certificate_that_comes_after_the_tc(bench: Bench) -> None:
    b = bench()
    chain, low = _hidden(b)
    b.advance(chain[:4])
    assert not convicted(b, b.give(b.others[0], Certificate(chain[3].qc, low)))
    late = b.propose(chain[4]) + b.give(b.others[0], Certificate(chain[4].qc, None))
    assert convicted(b, late) == {"hidden-certificate": {1, 2}}


def test_a_block_that_comes_last(bench: Bench) -> None:
    b = bench()
    chain, low = _hidden(b)
    b.advance(chain[:4])
    b.give(b.others[0], Certificate(chain[4].qc, low))
    effects = b.core.on_fetch_timer(chain[4].block_id, b.now_ms)
    (request,) = [e for e in effects if isinstance(e, fx.SendRequest)]
    response = BlockResponse(chain[4].block_id, (chain[4].block,))
    found = convicted(b, b.give(request.to[0], response))
    assert found == {"hidden-certificate": {1, 2}}


def test_a_timeout_of_its_own_against_a_certificate(bench: Bench) -> None:
    b = bench()
    chain = b.chain(5)
    b.advance(chain)
    member = next(m for m in b.others if m < 3)
    assert not convicted(b, b.give(member, b.timeout(member, 6, 4, chain[3].qc)))
    assert convicted(b, b.give(member, b.timeout(member, 7, 3, chain[3].qc))) == {
        "hidden-certificate": {member}
    }


@pytest.mark.parametrize("vote_first", [True, False])
def test_a_timeout_and_a_vote_of_its_own(bench: Bench, *, vote_first: bool) -> None:
    b = bench()
    chain = b.chain(2)
    b.advance(chain[:1])
    b.propose(chain[1])
    member = next(m for m in b.others if m != b.context.leader(2))
    steps = [
        lambda: b.give(member, b.vote(member, chain[1])),
        lambda: b.give(member, b.timeout(member, 2, 0)),
    ]
    first, second = steps if vote_first else steps[::-1]
    assert not convicted(b, first())
    assert convicted(b, second()) == {"hidden-certificate": {member}}


def test_a_vote_that_overtook_its_block(bench: Bench) -> None:
    b = bench()
    chain = b.chain(2)
    b.advance(chain[:1])
    member = next(m for m in b.others if m != b.context.leader(2))
    b.give(member, b.timeout(member, 2, 0))
    assert not convicted(b, b.give(member, b.vote(member, chain[1])))
    assert convicted(b, b.propose(chain[1])) == {"hidden-certificate": {member}}


# Two timeouts.


def test_two_timeouts_in_two_tcs(bench: Bench) -> None:
    b = bench()
    chain = b.chain(3)
    b.advance(chain)
    one = b.sign.tc(4, {0: 3, 1: 3, 2: 2}, chain[2].qc)
    other = b.sign.tc(4, {1: 3, 2: 3, 3: 2}, chain[2].qc)
    assert "two-timeouts" not in convicted(b, b.give(b.others[0], Certificate(chain[2].qc, one)))
    found = convicted(b, b.give(b.others[0], Certificate(chain[2].qc, other)))
    assert found["two-timeouts"] == {2}


def test_that_tc_is_kept_with_which_a_fork_is_justified(bench: Bench) -> None:
    b = bench()
    chain = b.chain(3)
    b.advance(chain)
    high = b.sign.tc(6, dict.fromkeys(range(3), 3), chain[2].qc)
    low = b.sign.tc(6, dict.fromkeys(range(1, 4), 1), chain[2].qc)
    for tc in (high, low, high):
        b.give(b.others[0], Certificate(chain[2].qc, tc))
    assert [tc.groups for tc in b.core.witness.left() if tc.view == 6] == [low.groups]


# What is kept, and what crashes leave of it.


def test_what_was_seen_before_a_crash_still_convicts(bench: Bench) -> None:
    b = bench()
    chain, low = _hidden(b)
    effects = b.advance(chain)
    kept = [e.record for e in effects if isinstance(e, fx.KeepWitnessed)]
    again = bench()
    assert not convicted(again, again.core.start((), again.now_ms, kept))
    found = convicted(again, again.give(again.others[0], Certificate(chain[3].qc, low)))
    assert found == {"hidden-certificate": {1, 2}}


def test_an_offence_found_just_before_a_crash_is_found_again(bench: Bench) -> None:
    b = bench()
    chain, low = _hidden(b)
    effects = b.advance(chain) + b.give(b.others[0], Certificate(chain[3].qc, low))
    kept = [e.record for e in effects if isinstance(e, fx.KeepWitnessed)]
    again = bench()
    found = convicted(again, again.core.start((), again.now_ms, kept))
    assert found == {"hidden-certificate": {1, 2}}


def test_who_meets_a_fork_testifies_and_who_has_the_other_half_convicts(bench: Bench) -> None:
    """G made view 4 final by view 5; H was led to another block by a TC that G never saw."""
    g, h = bench(), bench(leads=1)
    trunk = g.chain(5)
    g.advance(trunk)
    low = g.sign.tc(7, dict.fromkeys(range(3), 2), trunk[1].qc)
    other = g.make(8, trunk[1])
    tip = g.make(9, other)
    h.advance(trunk[:2])
    h.give(h.others[0], Certificate(trunk[1].qc, low))
    g.give(g.others[0], Certificate(tip.qc, None))
    asked = g.core.on_fetch_timer(tip.block_id, g.now_ms)
    (request,) = [e for e in asked if isinstance(e, fx.SendRequest)]
    effects = g.give(request.to[0], BlockResponse(tip.block_id, (tip.block, other.block)))
    (halt,) = [e for e in effects if isinstance(e, fx.Halt)]
    (told,) = [e for e in effects if isinstance(e, fx.SendTestimony)]
    assert effects.index(told) < effects.index(halt)
    assert convicted(h, h.give(g.me, told.testimony)) == {"hidden-certificate": {0, 1, 2}}


def test_a_testimony_that_does_not_hold_changes_nothing(bench: Bench) -> None:
    b = bench()
    chain = b.chain(3)
    b.advance(chain[:1])
    link = b.core.node(chain[0].block_id).link
    thin = b.sign.qc(chain[1].block.header, [1])
    before = b.seen()
    for record in (
        Witnessed(chain[1].qc, link, None),
        Witnessed(chain[1].qc, None, None),
        Witnessed(thin, link, None),
        Witnessed(chain[0].qc, link, b.tc(3)),
        Witnessed(None, None, None),
    ):
        with pytest.raises(InvalidMessage):
            b.core.on_testimony(b.others[0], wire.Testimony((record,)), b.now_ms)
    assert b.seen() == before


def test_shares_that_do_not_verify_use_nothing_up_that_certificates_prove(bench: Bench) -> None:
    b = bench()
    q, n = b.context.q, b.context.n
    one, other = fork(b, 1)
    both = sorted(set(range(q)) & set(range(n - q, n)))
    for member in both:
        for kind in range(2 * ACCUSATIONS_MAX):
            header = wire.Header(1, b.now_ms, bytes([kind]) * 32, bytes(32))
            if member != b.core._me:
                b.core.on_vote(member, wire.Vote(header, bytes([kind]) * 96), b.now_ms)
    assert not convicted(b, b.give(b.others[0], Certificate(one.qc, None)))
    found = convicted(b, b.give(b.others[0], Certificate(other.qc, None)))
    assert found == {"two-votes": set(both)}


def test_a_timeout_is_compared_with_few_certificates_however_long_the_history(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench()
    witness = b.core.witness
    absent = b.others[-1]
    signers = [member for member in range(b.context.n) if member != absent]
    for view in range(1, 300):
        witness.qc(b.make(view, signers=signers).qc)
    looked: list[int] = []
    certified = witness._certified

    class Counted(dict[int, Any]):
        def __getitem__(self, view: int) -> Any:
            looked.append(view)
            return certified[view]

    monkeypatch.setattr(witness, "_certified", Counted(certified))
    for sender in (absent, signers[0]):
        assert not witness.timeout(sender, 2**62, 0, bytes(96), timely=False)
    assert len(looked) <= CERTIFICATES_TRIED_MAX


def test_memory_and_accusations_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench()
    assert (VIEWS_MAX, ACCUSED_MAX, LINKS_MAX) == (16_384, 8192, 256)
    monkeypatch.setattr("consensus.witness.VIEWS_MAX", 50)
    monkeypatch.setattr("consensus.witness.LINKS_MAX", 20)
    monkeypatch.setattr("consensus.witness.ACCUSED_MAX", 30)
    witness = b.core.witness
    told = 0
    for view in range(1, 400):
        made = b.make(view)
        told += sum(isinstance(e, fx.Accusation) for e in witness.qc(made.qc))
        for at_ms in range(1, 7):
            other = b.make(view, at_ms=b.now_ms + at_ms)
            witness.block(other.block_id, other.block.header, b.core.root.link or _link(b, other))
            told += sum(isinstance(e, fx.Accusation) for e in witness.qc(other.qc))
            list(witness.tc(b.sign.tc(view, dict.fromkeys(range(3), view - 1), made.qc)))
    assert told == 399 * ACCUSATIONS_MAX
    assert len(witness._certified) == len(witness._certified_views) == 50
    assert max(map(len, witness._certified_of)) == 50
    assert len(witness._left) == len(witness._left_views) == 50
    assert len(witness._links) <= 20
    assert len(witness._accused) == 30
    assert len(witness._seen) <= SEEN_MAX


def _link(b: Any, made: Any) -> Any:
    from consensus.evidence import link_of

    block = made.block
    return link_of(block, b.context.genesis_id, b.rule.digest(block.view, block.payload))


def test_the_longest_evidence_fits(bench: Bench) -> None:
    top = 2**63 - 1
    groups = tuple(
        TimeoutGroup(top - 200 + i, (1 << i).to_bytes(32, "big")) for i in range(MEMBERS_MAX)
    )
    timeout = SignedTimeout(top, groups, bytes([255]) * 96)
    assert len(encode_evidence(TwoTimeouts(timeout, timeout))) <= EVIDENCE_BYTES_MAX


# Nothing an honest member signs is evidence, and nothing else convicts it.


@st.composite
def pieces(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw what is done to a piece of evidence."""
    kind = draw(
        st.sampled_from(["bit", "view", "high", "byte", "swap", "link", "group", "signature"])
    )
    return kind, draw(st.integers(0, 2**16))


def _evidence(b: Any) -> list[Evidence]:
    chain, low = _hidden(b)
    one, other = fork(b, 1)
    b.advance(chain)
    effects = b.give(b.others[0], Certificate(chain[4].qc, low))
    effects += b.give(b.others[0], Certificate(other.qc, None))
    effects += b.give(b.others[0], Certificate(one.qc, None))
    tc = b.sign.tc(7, {0: 4, 1: 4, 3: 4}, chain[3].qc)
    effects += b.give(b.others[0], Certificate(chain[4].qc, tc))
    return [e.evidence for e in effects if isinstance(e, fx.Accusation)]


def _mutated(value: Any, way: str, number: int) -> Any:
    """Change one thing in a structure, somewhere."""
    replace = msgspec.structs.replace
    match value, way:
        case ((SignedVote() | TimeoutGroup()), "bit"):
            bits = int.from_bytes(value.bitmap, "big") ^ (1 << number % 5)
            return replace(value, bitmap=bits.to_bytes(32, "big"))
        case SignedVote(), "view":
            header = replace(value.header, view=value.header.view + number % 3 - 1)
            return replace(value, header=header)
        case SignedVote(), "byte":
            header = replace(value.header, feed_root=bytes([number % 256]) * 32)
            return replace(value, header=header)
        case TimeoutGroup(), "high":
            return replace(value, high_qc_view=max(0, value.high_qc_view + number % 5 - 2))
        case SignedTimeout(), "view":
            return replace(value, view=value.view + number % 3 - 1)
        case SignedTimeout(), "group":
            return replace(value, groups=value.groups[number % len(value.groups) :])
        case SignedTimeout(), "swap":
            return replace(value, groups=value.groups[::-1])
        case ((SignedVote() | SignedTimeout()), "signature"):
            at = number % 96
            changed = bytes([value.aggregate[at] ^ (1 + number % 255)])
            return replace(
                value, aggregate=value.aggregate[:at] + changed + value.aggregate[at + 1 :]
            )
    return None


def test_mutated_evidence_convicts_nobody_who_did_not_sign(bench: Bench) -> None:
    b = bench()
    sound = _evidence(b)
    assert {kind_of(one) for one in sound} == {"two-votes", "two-timeouts", "hidden-certificate"}

    @settings(max_examples=500, deadline=None)
    @given(st.sampled_from(sound), st.lists(pieces(), min_size=1, max_size=3))
    def check(evidence: Evidence, changes: list[tuple[str, int]]) -> None:
        guilty = set(accused_by(b.context, evidence))
        for way, number in changes:
            evidence = _changed(evidence, way, number)
        try:
            accused = set(verify_evidence(b.context, evidence, b.sign))
        except InvalidEvidence:
            return
        assert accused <= guilty
        assert decode_evidence(encode_evidence(evidence)) == evidence

    check()


def _changed(evidence: Evidence, way: str, number: int) -> Evidence:
    names = type(evidence).__struct_fields__
    name = names[number % len(names)]
    part = getattr(evidence, name)
    if way == "link":
        if not isinstance(evidence, HiddenCertificate):
            return type(evidence)(evidence.second, evidence.first)  # type: ignore[arg-type]
        name, link = "link", evidence.link
        changed: Any = msgspec.structs.replace(link, parent_view=link.parent_view + 1)
    elif isinstance(part, SignedTimeout) and way in ("bit", "high"):
        at = number % len(part.groups)
        group = _mutated(part.groups[at], way, number)
        groups = (*part.groups[:at], group, *part.groups[at + 1 :])
        changed = msgspec.structs.replace(part, groups=groups)
    else:
        changed = _mutated(part, way, number)
    return evidence if changed is None else msgspec.structs.replace(evidence, **{name: changed})


@given(st.binary(max_size=200))
def test_bytes_are_no_evidence(garbage: bytes) -> None:
    try:
        evidence = decode_evidence(garbage)
    except InvalidEvidence:
        return
    assert isinstance(evidence, TwoVotes | TwoTimeouts | HiddenCertificate)
