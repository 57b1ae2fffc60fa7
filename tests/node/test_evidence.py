"""Evidence in a node: verified before it is kept, bounded, told, exported, verified again."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from click.testing import CliRunner

from consensus import effects as fx
from consensus.digests import link_digest
from consensus.errors import InvalidMessage
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    accused_by,
    encode_evidence,
    single_timeout,
    single_vote,
    timeout_of,
    two_votes,
    vote_of,
)
from consensus.messages import EvidenceMessage, Header, Link
from feeds.catalogue import load_catalogue
from node import network_file
from node.api.server import ApiServer, Listeners
from node.api.view import ViewCell
from node.cli import main
from node.evidence_book import PIECES_AT_ONCE, EvidenceBook, Offence
from node.evidence_file import document_of, encode_document, verify_file
from node.keys.account_key import AccountKey
from node.keys.bls_key import BlsKey
from node.keys.identity_key import IdentityKey
from node.keys.key_set import KeySet
from node.metrics import Metrics
from node.network_file import NetworkFile
from node.registration import register
from node.running_epoch import RunningEpoch, first_epoch
from node.store import ArchiveReader, Store
from node.store.store import EVIDENCE_PER_MEMBER_MAX

KEYS = [BlsKey(bytes(31) + bytes([index + 1])) for index in range(4)]


@pytest.fixture(scope="module")
def network() -> NetworkFile:
    members = []
    for index, key in enumerate(KEYS):
        secret = bytes(31) + bytes([index + 1])
        keys = KeySet(IdentityKey(secret), key, AccountKey(secret))
        members.append(register(f"member-{index}", keys))
    table = load_catalogue(None)
    made = network_file.create("t", members, table, genesis_time_ms=0, valid_until_ms=10**12)
    for key in KEYS:
        made = network_file.sign(made, key)
    return made


def header(view: int, root: int) -> Header:
    return Header(view, view, bytes([root]) * 32, bytes(32))


def offence(epoch: RunningEpoch, member: int, view: int, root: int = 2) -> Evidence:
    """Return two votes of a member."""
    domain = epoch.context.domain
    one, other = header(view, 1), header(view, root)
    votes = [single_vote(member, h, KEYS[member].sign(h.id(domain))) for h in (one, other)]
    return two_votes(epoch.context, *votes)


def key_of(peer: int) -> bytes:
    return peer.to_bytes(32, "big")


class Kept:
    """A book on a store, and what it says."""

    def __init__(self, network: NetworkFile, directory: Path, *, create: bool = True) -> None:
        self.epoch = first_epoch(network)
        self.store = (Store.create if create else Store.open)(directory / "data")
        self.told: list[tuple[int, bytes]] = []
        self.convicted: list[Offence] = []
        self.book = EvidenceBook(
            self.store,
            lambda: [self.epoch],
            lambda epoch, data: self.told.append((epoch, data)),
            self.convicted.append,
        )

    async def receive(self, evidence: Evidence, peer: int = 0) -> None:
        await self.book.receive(
            key_of(peer), self.epoch, EvidenceMessage(encode_evidence(evidence))
        )


async def test_what_is_told_is_kept_told_on_once_and_outlives_the_process(
    network: NetworkFile, tmp_path: Path
) -> None:
    kept = Kept(network, tmp_path)
    evidence = offence(kept.epoch, 2, 7)
    for peer in range(3):
        await kept.receive(evidence, peer)
    await kept.receive(offence(kept.epoch, 2, 7, root=3))
    assert [(o.name, o.kind, o.view) for o in kept.convicted] == [("member-2", "two-votes", 7)]
    assert kept.told == [(0, encode_evidence(evidence))]
    kept.store.close()
    again = Kept(network, tmp_path, create=False)
    assert [o.id for o in again.book.offences()] == [kept.convicted[0].id]
    assert list(again.book.newest) == again.book.offences()
    await again.receive(evidence)
    assert not again.told
    again.store.close()


async def test_what_proves_nothing_is_the_fault_of_who_told(
    network: NetworkFile, tmp_path: Path
) -> None:
    kept = Kept(network, tmp_path)
    sound = offence(kept.epoch, 2, 7)
    other = offence(kept.epoch, 1, 7)
    forged = msgspec.structs.replace(
        sound, first=msgspec.structs.replace(sound.first, aggregate=other.first.aggregate)
    )
    infinity = bytes([0xC0]) + bytes(95)
    for bad in (
        forged,
        msgspec.structs.replace(sound, second=sound.first),
        msgspec.structs.replace(
            sound, first=msgspec.structs.replace(sound.first, aggregate=infinity)
        ),
        msgspec.structs.replace(
            sound, first=msgspec.structs.replace(sound.first, aggregate=bytes(96))
        ),
    ):
        with pytest.raises(InvalidMessage):
            await kept.receive(bad)
    with pytest.raises(InvalidMessage):
        await kept.book.receive(key_of(0), kept.epoch, EvidenceMessage(b"\x93"))
    assert not kept.store.evidence()
    accusation = fx.Accusation(forged, (2,), 2)
    assert not await kept.book.take(kept.epoch, accusation)
    with pytest.raises(AssertionError):
        await kept.book.take(kept.epoch, fx.Accusation(forged, (2,), None))
    kept.store.close()


async def test_a_flood_takes_no_room_from_the_others(network: NetworkFile, tmp_path: Path) -> None:
    kept = Kept(network, tmp_path)
    for view in range(1, EVIDENCE_PER_MEMBER_MAX + 20):
        await kept.receive(offence(kept.epoch, 1, view), peer=view)
    await kept.receive(offence(kept.epoch, 3, 9))
    count = [sum(o.member == m for o in kept.book.offences()) for m in range(4)]
    assert count == [0, EVIDENCE_PER_MEMBER_MAX, 0, 1]
    kept.store.close()


async def test_one_peer_is_heard_within_bounds(network: NetworkFile, tmp_path: Path) -> None:
    kept = Kept(network, tmp_path)
    sound = offence(kept.epoch, 2, 7)
    for _ in range(PIECES_AT_ONCE + 10):
        await kept.receive(sound)
    late = offence(kept.epoch, 3, 7)
    await kept.receive(late)
    assert {o.name for o in kept.convicted} == {"member-2"}
    await kept.receive(late, peer=1)
    assert {o.name for o in kept.convicted} == {"member-2", "member-3"}
    kept.store.close()


async def test_what_is_kept_is_told_again(
    network: NetworkFile, tmp_path: Path, autojump_clock: Any
) -> None:
    kept = Kept(network, tmp_path)
    pieces = [offence(kept.epoch, m, 7) for m in (1, 2)]
    for one in pieces:
        await kept.receive(one)
    kept.told.clear()
    with trio.move_on_after(21):
        await kept.book.run()
    assert {data for _, data in kept.told} == {encode_evidence(one) for one in pieces}
    assert len(kept.told) == 4
    kept.store.close()


def test_evidence_is_listed_shown_exported_and_verified_without_a_node(
    network: NetworkFile, tmp_path: Path
) -> None:
    kept = Kept(network, tmp_path)
    evidence = offence(kept.epoch, 2, 7)
    trio.run(kept.receive, evidence)
    (tmp_path / "network.json").write_bytes(network_file.encode(network))
    runner = CliRunner()

    def invoke(*arguments: str) -> Any:
        done = runner.invoke(main, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async def serve() -> None:
        reader = ArchiveReader(tmp_path / "data")
        server = ApiServer(
            cell=ViewCell(),
            archive=reader,
            network_file=b"",
            metrics=Metrics(process=False),
            evidence=kept.book,
        )
        at = await server.start(Listeners(("127.0.0.1", 0), control=("127.0.0.1", 0)))
        assert at.control is not None
        url = ["--url", f"http://127.0.0.1:{at.control[1]}"]
        try:
            await asyncio.to_thread(ask, url)
        finally:
            await server.stop()
            reader.close()

    def ask(url: list[str]) -> None:
        (row,) = invoke("evidence", "list", *url)["evidence"]
        assert (row["members"], row["kind"], row["view"]) == (["member-2"], "two-votes", 7)
        assert invoke("evidence", "show", row["id"][:9], *url)["accused"] == [2]
        out = str(tmp_path / "out")
        (path,) = invoke("evidence", "export", "--out", out, *url)["files"]
        assert invoke("evidence", "export", row["id"], "--out", out, *url)["files"] == [path]
        given = ["evidence", "verify", path, "--network", str(tmp_path / "network.json")]
        verdict = invoke(*given)
        assert (verdict["ok"], verdict["accused"]) == (True, ["member-2"])
        changed = Path(path).read_text().replace('"accused": [\n    2', '"accused": [\n    1')
        Path(path).write_text(changed)
        refused = runner.invoke(main, given)
        assert refused.exit_code == 1
        assert "accused" in refused.output
        clash = runner.invoke(main, ["evidence", "export", "--out", out, *url])
        assert clash.exit_code == 1
        assert Path(path).read_text() == changed
        assert runner.invoke(main, ["evidence", "show", "0xff00ff00", *url]).exit_code == 1

    asyncio.run(serve())
    kept.store.close()


def test_certificates_with_real_signatures_convict_their_signers(
    keyed: Any,
) -> None:
    c = keyed.Committee(4)
    link = Link(bytes(32), 4, 5, bytes(32), bytes(32))
    digest = link_digest(*(getattr(link, name) for name in Link.__struct_fields__))
    voted = msgspec.structs.replace(header(5, 1), link=digest)
    tc = c.tc(7, {0: 2, 1: 4, 3: 3}, c.qc(header(4, 1)))
    evidence = HiddenCertificate(vote_of(c.qc(voted, [0, 1, 2])), link, timeout_of(tc))
    assert accused_by(c.context, evidence) == (0,)
    document = document_of(c.context, evidence)
    assert verify_file(encode_document(document), c.context, c.table) == document
    own = single_timeout(2, 6, 3, c.signer(2).timeout(6, 3))
    single = HiddenCertificate(vote_of(c.qc(voted, [0, 1, 2])), link, own)
    assert verify_file(
        encode_document(document_of(c.context, single)), c.context, c.table
    ).accused == (2,)
