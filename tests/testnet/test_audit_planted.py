"""An honest history is found innocent, and every kind of planted violation is found."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from blspy import G2Element, PopSchemeMPL

from aggregation.encoding import encode_answer, feed_root, pack_words
from aggregation.observation import Entry, ObservationBody, observation_digest
from aggregation.status import Status
from consensus.committee import bitmap_of
from consensus.digests import link_digest
from consensus.messages import QC, Block, Header
from consensus.safety import SafetyState
from contracts.client import certificate_of, encode_push
from node.journal import Committed, Journal, read_journal
from node.signer import Signer
from node.store import Store
from testnet.audit.__main__ import audit, main
from testnet.audit.chain_record import (
    AnswerRecord,
    ChainRecord,
    PushRecord,
    load_chain_record,
    save_chain_record,
)
from testnet.audit.verdict import Verdict
from testnet.deployment import Deployment, make_network
from testnet.judging import verdict_in
from testnet.manifest import ChainEntry, Manifest, MemberEntry, load_manifest, save_manifest
from testnet.market import MIDDLE_SCALE, Market

NOW_MS = 1_800_000_000_000
MARKET = Market(seed=3, origin_ms=NOW_MS, start_minute=100)
ROUNDS = 6
PUSHED_VIEW = 4
STATE_DIGEST = b"\x01" * 32
PAYLOAD_DIGEST = b"\x02" * 32


@dataclass
class Round:
    """A certified block and what it was certified with."""

    block: Block
    block_id: bytes
    parent_id: bytes
    qc: QC
    words: tuple[int, ...]


class History:
    """Writes what members would: real journals, real stores, real signatures."""

    def __init__(self, directory: Path, deployment: Deployment) -> None:
        self.directory = directory
        self.network = deployment.network
        self.context = deployment.network.context
        self.domain = self.context.domain
        self.keys = [member.directory.keys for member in deployment.members]
        self.rounds: list[Round] = []

    def data(self, member: int) -> Path:
        return self.directory / f"node{member}" / "data"

    def signer(self, member: int) -> Signer:
        keys = self.keys[member]
        assert keys.bls is not None
        return Signer(self.domain, keys.bls, keys.identity)

    def journal(self, member: int) -> Journal:
        """Go on with a member's journal, as a process that is started again does."""
        journal = Journal(self.data(member) / "journal", clock_ms=lambda: NOW_MS)
        keys = self.keys[member]
        assert keys.bls is not None
        journal.started(
            instance="00",
            network=self.context.network,
            epoch=0,
            domain=self.domain,
            member=member,
            bls_key=keys.bls.public_key,
            ed25519_key=keys.identity.public_key,
        )
        return journal

    # The parts of a round.

    def prices(self, view: int, shift_ppm: int = 0) -> list[int]:
        at_ms = time_of(view)
        feeds = self.network.table.feeds
        middles = [
            MARKET.middle(feed.base, at_ms) // 10 ** (MIDDLE_SCALE - feed.decimals)
            for feed in feeds
        ]
        return [middle + middle * shift_ppm // 1_000_000 for middle in middles]

    def observe(self, journal: Journal, member: int, view: int, prices: Sequence[int]) -> None:
        entries = tuple(Entry(price, price // 10_000, 0) for price in prices)
        body = ObservationBody(time_of(view), entries)
        digest = observation_digest(self.domain, view, member, body)
        signature = self.signer(member).observation(digest)
        journal.signed_observation(self.domain, view, digest, body.encode(), signature)

    def certify(
        self,
        view: int,
        prices: Sequence[int],
        parent: Round | None,
        *,
        signers: Sequence[int] = (0, 1, 2),
        salt: int = 0,
    ) -> Round:
        """Return a block that these members really signed."""
        confidences = [price // 10_000 for price in prices]
        words = pack_words(
            [encode_answer(p, c, Status.LIVE) for p, c in zip(prices, confidences, strict=True)]
        )
        justify = self.context.genesis_qc if parent is None else parent.qc
        parent_id = self.context.id_of(justify)
        height = 1 if parent is None else parent.block.height + 1
        payload_digest = bytes([salt]) + PAYLOAD_DIGEST[1:]
        link = link_digest(parent_id, justify.view, height, STATE_DIGEST, payload_digest)
        header = Header(view, time_of(view), feed_root(words), link)
        block_id = header.id(self.domain)
        shares = [self.signer(member).vote(block_id) for member in signers]
        aggregate = PopSchemeMPL.aggregate([G2Element.from_bytes(share) for share in shares])
        qc = QC(header, bitmap_of(signers), bytes(aggregate))
        return Round(
            Block(header, height, STATE_DIGEST, b"", justify), block_id, parent_id, qc, words
        )

    def safety(self, made: Round, *, timeout: tuple[int, int] | None = None) -> SafetyState:
        view = made.block.view
        return SafetyState(
            domain=self.domain,
            last_voted_view=view,
            last_vote=made.block.header,
            last_timeout=timeout,
            last_proposed_view=view,
            high_qc=made.block.justify,
            high_tc=None,
        )

    def vote(self, journal: Journal, member: int, made: Round) -> None:
        share = self.signer(member).vote(made.block_id)
        journal.signed_vote(self.domain, made.block.header, made.block_id, share)

    def hold(self, journal: Journal, made: Round) -> None:
        journal.certified(
            self.domain, made.block_id, made.block, made.parent_id, made.qc, made.words
        )

    # The honest history.

    def write(self) -> None:
        journals = [self.journal(member) for member in range(4)]
        stores = [Store.open(self.data(member)) for member in range(4)]
        parent: Round | None = None
        for view in range(1, ROUNDS + 1):
            made = self.certify(view, self.prices(view), parent)
            leader = self.context.leader(view)
            for member, journal in enumerate(journals):
                # Members see the market a little differently; the middle one is agreed.
                shift_ppm = (-3, 0, 0, 3)[member]
                self.observe(journal, member, view, self.prices(view, shift_ppm))
                stores[member].save_safety(self.safety(made))
                journal.persisted(self.safety(made))
                self.vote(journal, member, made)
                if member == leader:
                    signature = self.signer(member).proposal(made.block_id)
                    journal.signed_proposal(self.domain, view, made.block_id, signature)
                self.hold(journal, made)
                if parent is not None:
                    journal.committed(self.domain, parent.block_id, parent.block, parent.parent_id)
            self.rounds.append(made)
            parent = made
        for closing in (*journals, *stores):
            closing.close()
        self.write_chain()

    def write_chain(self) -> None:
        made = self.rounds[PUSHED_VIEW - 1]
        header = made.block.header
        certificate = certificate_of(0, header, made.qc.bitmap, made.qc.aggregate)
        calldata = encode_push(certificate, made.words)
        answers = [
            AnswerRecord(price, 100, 1, header.observed_at_ms) for price in self.prices(PUSHED_VIEW)
        ]
        push = PushRecord(
            block=2,
            transaction="ab" * 32,
            sender="cd" * 20,
            calldata=calldata.hex(),
            gas_used=200_000,
            epoch=0,
            view=header.view,
            observed_at_ms=header.observed_at_ms,
            id=made.block_id.hex(),
            feed_root=header.feed_root.hex(),
            words=tuple(f"{word:064x}" for word in made.words),
        )
        record = ChainRecord(
            network=self.context.network.hex(),
            domain=self.domain.hex(),
            epoch=0,
            stored_view=header.view,
            stored_observed_at_ms=header.observed_at_ms,
            answers=tuple(answers),
            pushes=(push,),
        )
        save_chain_record(self.directory, record)


def time_of(view: int) -> int:
    return NOW_MS + 250 * view


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    directory = tmp_path_factory.mktemp("audit") / "honest"
    deployment = make_network(directory, range(20_000, 20_016), rate=4, now_ms=NOW_MS)
    manifest = Manifest(
        seed=MARKET.seed,
        origin_ms=MARKET.origin_ms,
        start_minute=MARKET.start_minute,
        members=tuple(MemberEntry(m.name, m.name) for m in deployment.members),
        chain=ChainEntry("embedded", 31_337, "0x" + "11" * 20),
    )
    save_manifest(directory, manifest)
    history = History(directory, deployment)
    history.write()
    return directory, history


@pytest.fixture
def history(written: tuple[Path, History], tmp_path: Path) -> History:
    """Give a copy of the honest history to plant something in."""
    directory, original = written
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    history = History.__new__(History)
    history.__dict__.update(original.__dict__)
    history.directory = copy
    history.rounds = list(original.rounds)
    return history


def kinds(verdict: Verdict) -> set[str]:
    """Return the kinds of violations of a verdict, which must not be ok."""
    assert not verdict.ok
    assert verdict.violations
    return set(verdict.violations_by_kind)


def change_chain(history: History, change: Callable[[ChainRecord], ChainRecord]) -> None:
    save_chain_record(history.directory, change(load_chain_record(history.directory)))


def change_push(history: History, **changes: object) -> None:
    def change(record: ChainRecord) -> ChainRecord:
        push = msgspec.structs.replace(record.pushes[0], **changes)
        return msgspec.structs.replace(record, pushes=(push,))

    change_chain(history, change)


def plant_certified(history: History, made: Round, member: int = 1) -> None:
    journal = history.journal(member)
    history.hold(journal, made)
    journal.close()


def test_an_honest_history_is_ok(history: History) -> None:
    verdict = audit(history.directory)
    assert verdict.ok, verdict.violations
    assert verdict.reports_checked == ROUNDS
    assert verdict.committed_checked == ROUNDS - 1
    assert verdict.pushes_checked == 1
    assert verdict.prices_checked == len(history.network.table.feeds) * ROUNDS
    assert verdict.price_error_bp_max is not None
    assert verdict.price_error_bp_max < 0.1


def test_the_exit_status_is_the_verdict(
    history: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["audit", str(history.directory)])
    assert main() == 0
    change_push(history, calldata="00")
    assert main() == 1
    told = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert [verdict["ok"] for verdict in told] == [True, False]


def test_two_certified_reports_of_one_view(history: History) -> None:
    twin = history.certify(ROUNDS, history.prices(ROUNDS), history.rounds[-2], salt=9)
    plant_certified(history, twin)
    assert kinds(audit(history.directory)) == {"two-reports"}


def test_two_quorums_of_votes_in_one_view(history: History) -> None:
    view = ROUNDS + 1
    twins = [
        history.certify(view, history.prices(view), history.rounds[-1], salt=salt)
        for salt in (1, 2)
    ]
    for member in range(3):
        journal = history.journal(member)
        for twin in twins:
            journal.persisted(history.safety(twin))
            history.vote(journal, member, twin)
        journal.close()
        with Store.open(history.data(member)) as store:
            store.save_safety(history.safety(twins[-1]))
    assert kinds(audit(history.directory)) == {"two-reports", "equivocation"}


def test_different_blocks_committed_at_one_height(history: History) -> None:
    last = history.rounds[-1]
    twin = history.certify(ROUNDS, history.prices(ROUNDS), history.rounds[-2], salt=9)
    for member, made in ((0, last), (1, twin)):
        journal = history.journal(member)
        journal.committed(history.domain, made.block_id, made.block, made.parent_id)
        journal.close()
    assert kinds(audit(history.directory)) == {"fork"}


def test_a_certified_report_that_does_not_descend_from_a_committed_one(history: History) -> None:
    view = ROUNDS + 1
    stray = history.certify(view, history.prices(view), history.rounds[2])
    journal = history.journal(0)
    history.observe(journal, 0, view, history.prices(view))
    history.hold(journal, stray)
    journal.close()
    assert kinds(audit(history.directory)) == {"fork"}


def test_a_commit_that_skips_a_height(history: History) -> None:
    journal = history.journal(2)
    for made in (history.rounds[-3], history.rounds[-1]):
        journal.committed(history.domain, made.block_id, made.block, made.parent_id)
    journal.close()
    assert kinds(audit(history.directory)) == {"fork"}


def begin_from(history: History, journal: Journal, made: Round) -> None:
    journal.began_from(history.domain, made.block_id, made.block, made.parent_id)


def test_a_member_that_went_on_from_a_checkpoint_is_innocent(history: History) -> None:
    """It has committed the second block, skips to the fourth and commits the fifth."""
    data = history.data(2) / "journal"
    entries = [
        entry
        for entry in read_journal(data)
        if not (isinstance(entry, Committed) and entry.height > 2)
    ]
    shutil.rmtree(data)
    data.mkdir()
    lines = [
        msgspec.json.encode(msgspec.structs.replace(entry, seq=seq)) + b"\n"
        for seq, entry in enumerate(entries)
    ]
    (data / "journal.jsonl").write_bytes(b"".join(lines))
    journal = Journal(data, clock_ms=lambda: NOW_MS)
    begin_from(history, journal, history.rounds[3])
    fifth = history.rounds[4]
    journal.committed(history.domain, fifth.block_id, fifth.block, fifth.parent_id)
    journal.close()
    verdict = audit(history.directory)
    assert verdict.ok, verdict.violations


def test_a_checkpoint_that_others_did_not_commit(history: History) -> None:
    twin = history.certify(ROUNDS - 1, history.prices(ROUNDS - 1), history.rounds[-3], salt=9)
    journal = history.journal(2)
    begin_from(history, journal, twin)
    journal.close()
    assert kinds(audit(history.directory)) == {"fork"}


def test_a_commit_that_does_not_follow_its_checkpoint(history: History) -> None:
    journal = history.journal(2)
    begin_from(history, journal, history.rounds[1])
    last = history.rounds[-2]
    journal.committed(history.domain, last.block_id, last.block, last.parent_id)
    journal.close()
    assert kinds(audit(history.directory)) == {"fork"}


def test_a_checkpoint_that_goes_back(history: History) -> None:
    journal = history.journal(2)
    begin_from(history, journal, history.rounds[3])
    begin_from(history, journal, history.rounds[1])
    journal.close()
    assert kinds(audit(history.directory)) == {"fork"}


def test_a_vote_that_was_sent_before_it_was_durable(history: History) -> None:
    view = ROUNDS + 1
    made = history.certify(view, history.prices(view), history.rounds[-1])
    journal = history.journal(0)
    history.vote(journal, 0, made)
    journal.persisted(history.safety(made))
    journal.close()
    with Store.open(history.data(0)) as store:
        store.save_safety(history.safety(made))
    assert kinds(audit(history.directory)) == {"not-durable"}


def test_a_timeout_that_was_sent_before_it_was_durable(history: History) -> None:
    view = ROUNDS + 1
    share = history.signer(0).timeout(view, ROUNDS)
    journal = history.journal(0)
    journal.signed_timeout(history.domain, view, ROUNDS, share)
    timed_out = msgspec.structs.replace(
        history.safety(history.rounds[-1]), last_voted_view=view, last_timeout=(view, ROUNDS)
    )
    journal.persisted(timed_out)
    journal.close()
    with Store.open(history.data(0)) as store:
        store.save_safety(timed_out)
    assert kinds(audit(history.directory)) == {"not-durable"}


@pytest.mark.parametrize("kind", ["vote", "timeout"])
def test_a_store_that_forgot_the_last_signature(history: History, kind: str) -> None:
    view = ROUNDS + 1
    journal = history.journal(3)
    if kind == "vote":
        made = history.certify(view, history.prices(view), history.rounds[-1])
        journal.persisted(history.safety(made))
        history.vote(journal, 3, made)
    else:
        journal.persisted(history.safety(history.rounds[-1], timeout=(view, ROUNDS)))
        share = history.signer(3).timeout(view, ROUNDS)
        journal.signed_timeout(history.domain, view, ROUNDS, share)
    journal.close()
    assert kinds(audit(history.directory)) == {"not-durable"}


def test_a_store_without_a_safety_state(history: History) -> None:
    data = history.data(2)
    shutil.move(data / "journal", history.directory / "moved")
    shutil.rmtree(data)
    Store.create(data).close()
    shutil.move(history.directory / "moved", data / "journal")
    assert kinds(audit(history.directory)) == {"not-durable"}


def test_an_on_chain_word_that_differs(history: History) -> None:
    words = tuple(word[:-1] + ("1" if word[-1] == "0" else "0") for word in push_words(history))
    change_push(history, words=words)
    assert "on-chain" in kinds(audit(history.directory))


def push_words(history: History) -> tuple[str, ...]:
    return load_chain_record(history.directory).pushes[0].words


@pytest.mark.parametrize(
    "changes",
    [
        {"calldata": "00"},
        {"observed_at_ms": time_of(PUSHED_VIEW) + 1},
        {"feed_root": "00" * 32},
        {"epoch": 1},
    ],
)
def test_an_event_that_differs_from_the_certified_report(
    history: History, changes: dict[str, object]
) -> None:
    change_push(history, **changes)
    assert "on-chain" in kinds(audit(history.directory))


def test_a_stored_report_that_nobody_certified(history: History) -> None:
    change_push(history, id="77" * 32)
    assert kinds(audit(history.directory)) == {"on-chain", "two-reports"}


@pytest.mark.parametrize("field", ["price", "confidence_ppm", "status", "observed_at_ms"])
def test_a_contract_that_says_something_else_than_its_events(history: History, field: str) -> None:
    def change(record: ChainRecord) -> ChainRecord:
        first = msgspec.structs.replace(record.answers[0], **{field: 3})
        return msgspec.structs.replace(record, answers=(first, *record.answers[1:]))

    change_chain(history, change)
    assert kinds(audit(history.directory)) == {"on-chain"}


def test_a_contract_of_another_network(history: History) -> None:
    change_chain(history, lambda record: msgspec.structs.replace(record, network="00" * 32))
    assert kinds(audit(history.directory)) == {"on-chain"}


def test_a_member_that_votes_twice_in_a_view(history: History) -> None:
    twin = history.certify(ROUNDS, history.prices(ROUNDS), history.rounds[-2], salt=9)
    journal = history.journal(1)
    journal.persisted(history.safety(twin))
    history.vote(journal, 1, twin)
    journal.close()
    assert "equivocation" in kinds(audit(history.directory))


def test_a_member_that_times_out_twice_in_a_view(history: History) -> None:
    time_out_twice(history, 1)
    assert kinds(audit(history.directory)) == {"equivocation"}


def time_out_twice(history: History, member: int) -> None:
    view = ROUNDS + 1
    journal = history.journal(member)
    for high_qc_view in (ROUNDS - 1, ROUNDS):
        timed_out = history.safety(history.rounds[-1], timeout=(view, high_qc_view))
        journal.persisted(timed_out)
        share = history.signer(member).timeout(view, high_qc_view)
        journal.signed_timeout(history.domain, view, high_qc_view, share)
    journal.close()
    with Store.open(history.data(member)) as store:
        store.save_safety(timed_out)


def test_what_a_persona_signs_twice_is_seen_and_no_violation(history: History) -> None:
    make_persona(history, 1, "equivocator", honest=False)
    time_out_twice(history, 1)
    verdict = audit(history.directory)
    assert verdict.ok
    assert verdict.offences_seen == {"node1": {"equivocation": 1}}
    # Another member that does the same beside it is found all the same.
    time_out_twice(history, 2)
    verdict = audit(history.directory)
    assert verdict.violations_by_kind == {"equivocation": 1}
    assert [violation.member for violation in verdict.violations] == ["node2"]
    assert verdict.offences_seen == {"node1": {"equivocation": 1}}


def test_a_persona_that_keeps_the_rules_is_held_to_them(history: History) -> None:
    make_persona(history, 1, "crasher", honest=True)
    time_out_twice(history, 1)
    assert kinds(audit(history.directory)) == {"equivocation"}


def test_two_reports_are_a_violation_whoever_signed_them(history: History) -> None:
    view = ROUNDS + 1
    for salt in (0, 1):
        made = history.certify(view, history.prices(view), history.rounds[-1], salt=salt)
        plant_certified(history, made)
    for member in range(3):
        make_persona(history, member, "equivocator", honest=False)
    assert "two-reports" in kinds(audit(history.directory))


def make_persona(history: History, member: int, persona: str, *, honest: bool) -> None:
    manifest = load_manifest(history.directory)
    members = list(manifest.members)
    members[member] = msgspec.structs.replace(members[member], persona=persona, honest=honest)
    save_manifest(history.directory, msgspec.structs.replace(manifest, members=tuple(members)))


def test_a_member_that_votes_after_its_timeout(history: History) -> None:
    view = ROUNDS + 1
    made = history.certify(view, history.prices(view), history.rounds[-1])
    safety = history.safety(made, timeout=(view, ROUNDS))
    journal = history.journal(1)
    journal.persisted(safety)
    share = history.signer(1).timeout(view, ROUNDS)
    journal.signed_timeout(history.domain, view, ROUNDS, share)
    history.vote(journal, 1, made)
    journal.close()
    with Store.open(history.data(1)) as store:
        store.save_safety(safety)
    assert kinds(audit(history.directory)) == {"equivocation"}


def test_a_price_outside_what_honest_members_observed(history: History) -> None:
    view = ROUNDS + 1
    made = history.certify(view, history.prices(view, 50), history.rounds[-1])
    journal = history.journal(0)
    history.observe(journal, 0, view, history.prices(view))
    history.hold(journal, made)
    journal.close()
    assert kinds(audit(history.directory)) == {"dishonest-range"}


def test_what_liars_observe_widens_no_range(history: History) -> None:
    view = ROUNDS + 1
    made = history.certify(view, history.prices(view, 50), history.rounds[-1])
    for member, shift_ppm in ((0, 0), (1, 60)):
        journal = history.journal(member)
        history.observe(journal, member, view, history.prices(view, shift_ppm))
        history.hold(journal, made)
        journal.close()
    assert audit(history.directory).ok
    make_persona(history, 1, "liar", honest=False)
    assert kinds(audit(history.directory)) == {"dishonest-range"}


def test_a_price_far_from_the_market(history: History) -> None:
    view = ROUNDS + 1
    wrong = history.prices(view, 2_000)
    journal = history.journal(0)
    history.observe(journal, 0, view, wrong)
    history.hold(journal, history.certify(view, wrong, history.rounds[-1]))
    journal.close()
    assert kinds(audit(history.directory)) == {"wrong-price"}


def test_a_certificate_whose_signature_does_not_verify(history: History) -> None:
    last = history.rounds[-1]
    forged = QC(last.qc.header, bitmap_of((0, 1, 3)), last.qc.aggregate)
    plant_certified(history, replace(last, qc=forged))
    assert kinds(audit(history.directory)) == {"bad-certificate"}


def test_a_certificate_below_the_quorum(history: History) -> None:
    pair = history.certify(ROUNDS, history.prices(ROUNDS), history.rounds[-2], signers=(0, 1))
    plant_certified(history, pair)
    assert kinds(audit(history.directory)) == {"bad-certificate"}


def test_words_that_are_not_the_certified_ones(history: History) -> None:
    last = history.rounds[-1]
    plant_certified(history, replace(last, words=(last.words[0] ^ 1 << 80,)))
    assert "bad-certificate" in kinds(audit(history.directory))


def test_a_member_that_halted(history: History) -> None:
    journal = history.journal(2)
    journal.halted("two quorums")
    journal.close()
    assert kinds(audit(history.directory)) == {"halted"}


# What cannot be read is never ok.


def test_a_missing_journal(history: History) -> None:
    shutil.rmtree(history.data(3) / "journal")
    assert kinds(audit(history.directory)) == {"audit"}


def test_a_journal_with_a_line_that_is_no_entry(history: History) -> None:
    path = history.data(3) / "journal" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"persisted"', b'"perished"', 1))
    assert kinds(audit(history.directory)) == {"audit"}


@pytest.mark.parametrize("line", [0, 5])
def test_a_journal_from_which_a_line_was_cut(history: History, line: int) -> None:
    path = history.data(3) / "journal" / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:line] + lines[line + 1 :]))
    assert kinds(audit(history.directory)) == {"audit"}


def test_a_journal_of_another_member(history: History) -> None:
    shutil.rmtree(history.data(3) / "journal")
    shutil.copytree(history.data(2) / "journal", history.data(3) / "journal")
    assert kinds(audit(history.directory)) == {"audit"}


def test_a_node_that_still_runs(history: History) -> None:
    with Store.open(history.data(0)):
        assert kinds(audit(history.directory)) == {"audit"}


@pytest.mark.parametrize("name", ["testnet.json", "network.json", "chain.json"])
@pytest.mark.parametrize("content", [None, b"{}", b"\xff"])
def test_a_file_that_is_missing_or_damaged(
    history: History, name: str, content: bytes | None
) -> None:
    if content is None:
        (history.directory / name).unlink()
    else:
        (history.directory / name).write_bytes(content)
    assert kinds(audit(history.directory)) == {"audit"}


def test_a_chain_that_does_not_answer(history: History) -> None:
    assert kinds(audit(history.directory, "http://127.0.0.1:9")) == {"audit"}


def test_nothing_certified(written: tuple[Path, History], history: History) -> None:
    for member in range(4):
        shutil.rmtree(history.data(member) / "journal")
        history.journal(member).close()
    change_chain(
        history,
        lambda record: msgspec.structs.replace(
            record, pushes=(), answers=(), stored_view=0, stored_observed_at_ms=0
        ),
    )
    assert kinds(audit(history.directory)) == {"nothing-certified"}


# An auditor that died, or whose word cannot be trusted, finds nothing ok.


@pytest.mark.parametrize("said", [b"", b"ok", b'{"ok": true}'])
def test_an_auditor_that_died(said: bytes) -> None:
    assert kinds(verdict_in(said, -9, "killed")) == {"audit"}


def test_an_auditor_that_contradicts_itself(history: History) -> None:
    verdict = audit(history.directory)
    assert verdict.ok
    said = msgspec.json.encode(verdict)
    assert verdict_in(said, 0, "") == verdict
    assert kinds(verdict_in(said, 1, "")) == {"audit"}
