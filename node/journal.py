"""What a member signed and when that was durable, for an auditor outside the process.

One JSON object a line, in the order of things: `persisted` is written after the store's commit
returned, `signed` before the bytes leave the process. Each line reaches the kernel before the call
returns, so a killed process loses nothing; only a crash of the whole machine may.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from consensus.handover import Terms
from consensus.messages import QC, Block, Successor
from consensus.messages import Header as SignedHeader
from consensus.safety import SafetyState
from node.store.errors import SafetyOutdated, StoreError, StoreFailed

JOURNAL_FILE: Final = "journal.jsonl"
LINE_BYTES_MAX: Final = 1 << 18
_RECENT_BYTES: Final = 4 << 20

Hex = str
"""Lower-case hexadecimal without a prefix."""


class JournalDamaged(StoreError):
    """A journal has a line that is no entry, or a gap."""


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """A header as JSON."""

    view: int
    observed_at_ms: int
    feed_root: Hex
    link: Hex

    @classmethod
    def of(cls, header: SignedHeader) -> "Header":
        """Return the JSON form of a header."""
        return cls(header.view, header.observed_at_ms, header.feed_root.hex(), header.link.hex())


class Started(Struct, frozen=True, tag="started", tag_field="event", forbid_unknown_fields=True):
    """A process began to sign: which store, network, epoch and member; keys are public ones."""

    seq: int
    t_ms: int
    instance: str
    network: Hex
    epoch: int
    domain: Hex
    member: int
    bls_key: Hex
    ed25519_key: Hex


class Persisted(
    Struct, frozen=True, tag="persisted", tag_field="event", forbid_unknown_fields=True
):
    """A safety state became durable."""

    seq: int
    t_ms: int
    domain: Hex
    last_voted_view: int
    vote_id: Hex | None
    vote_view: int | None
    last_timeout: tuple[int, int] | None
    last_proposed_view: int
    high_qc_view: int
    high_tc_view: int | None
    closed: bool


class Signed(
    Struct,
    frozen=True,
    tag="signed",
    tag_field="event",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """The member signed something, which is about to leave the process.

    A vote has `id` and `header`, a proposal `id`, a timeout `high_qc_view`, an observation `id`
    (its digest) and `body`. An approval of a next epoch and the share on this epoch's end have `id`
    (the digest that is signed), and view 0.
    """

    seq: int
    t_ms: int
    domain: Hex
    kind: Literal["vote", "timeout", "proposal", "observation", "approval", "handover"]
    view: int
    signature: Hex
    id: Hex | None = None
    header: Header | None = None
    high_qc_view: int | None = None
    body: Hex | None = None


class Certified(
    Struct, frozen=True, tag="certified", tag_field="event", forbid_unknown_fields=True
):
    """The member holds a block and its certificate; `words` are the report's words."""

    seq: int
    t_ms: int
    domain: Hex
    view: int
    id: Hex
    height: int
    parent_id: Hex
    parent_view: int
    header: Header
    bitmap: Hex
    aggregate: Hex
    words: tuple[Hex, ...]


class Committed(
    Struct, frozen=True, tag="committed", tag_field="event", forbid_unknown_fields=True
):
    """The member takes a block as final."""

    seq: int
    t_ms: int
    domain: Hex
    view: int
    height: int
    id: Hex
    parent_id: Hex


class BeganFrom(
    Struct, frozen=True, tag="began-from", tag_field="event", forbid_unknown_fields=True
):
    """The member takes a block as final without those below it, which it skipped."""

    seq: int
    t_ms: int
    domain: Hex
    view: int
    height: int
    id: Hex
    parent_id: Hex


class HandedOver(
    Struct, frozen=True, tag="handed-over", tag_field="event", forbid_unknown_fields=True
):
    """An epoch ended, and the member holds the proof: nothing under `domain` is signed after it."""

    seq: int
    t_ms: int
    domain: Hex
    epoch: int
    next_domain: Hex
    deciding_id: Hex
    deciding_view: int
    observed_at_ms: int
    bitmap: Hex
    aggregate: Hex


class Halted(Struct, frozen=True, tag="halted", tag_field="event", forbid_unknown_fields=True):
    """The member stopped by itself."""

    seq: int
    t_ms: int
    reason: str


Entry = Started | Persisted | Signed | Certified | Committed | BeganFrom | HandedOver | Halted

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Journal:
    """Appends entries to `journal.jsonl` in a directory, one process at a time.

    A file that outgrows `file_bytes_max` is renamed to `journal-<first seq>.jsonl`; the oldest of
    these beyond `files_max` go. For one thread. A write that fails raises `StoreFailed`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        file_bytes_max: int = 64 << 20,
        files_max: int = 16,
        clock_ms: Callable[[], int] = _wall_clock_ms,
    ) -> None:
        """Go on where the directory's journal ends; a torn last line is cut off."""
        assert file_bytes_max > 0
        assert files_max >= 1
        self._directory = directory
        self._path = directory / JOURNAL_FILE
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._clock_ms = clock_ms
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._seq = self._continue()
            self._first_seq = self._seq
            self._open()
        except OSError as error:
            raise StoreFailed(f"cannot use the journal {self._path}: {error.strerror}") from error

    def _continue(self) -> int:
        """Cut a torn line off the last file; return the next sequence number."""
        paths = journal_files(self._directory)
        for path in reversed(paths):
            intact, last = _last_entry(path)
            if path == self._path and intact < path.stat().st_size:
                os.truncate(path, intact)
            if last is not None:
                return last.seq + 1
        return 0

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        if self._size:
            self._first_seq = _first_entry(self._path).seq
        else:
            self._first_seq = self._seq

    def _rotate(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        os.rename(self._path, self._directory / f"journal-{self._first_seq:012d}.jsonl")
        for path in journal_files(self._directory)[: -self._files_max]:
            path.unlink(missing_ok=True)
        self._open()

    def _append(self, entry: Entry) -> None:
        line = _encoder.encode(entry) + b"\n"
        if self._descriptor < 0:
            raise StoreFailed(f"the journal {self._path} is closed")
        try:
            if self._size and self._size + len(line) > self._file_bytes_max:
                self._rotate()
            written = os.write(self._descriptor, line)
        except OSError as error:
            self.close()
            raise StoreFailed(
                f"cannot write the journal {self._path}: {error.strerror}. Check the disk and its "
                "free space, then start the node again."
            ) from error
        if written != len(line):
            self.close()
            raise StoreFailed(
                f"cannot write the journal {self._path}: the disk is full. Make room, then start "
                "the node again."
            )
        self._size += written
        self._seq += 1

    def started(
        self,
        *,
        instance: str,
        network: bytes,
        epoch: int,
        domain: bytes,
        member: int,
        bls_key: bytes,
        ed25519_key: bytes,
    ) -> None:
        """Note that this process begins to sign for a member."""
        self._append(
            Started(
                self._seq,
                self._clock_ms(),
                instance,
                network.hex(),
                epoch,
                domain.hex(),
                member,
                bls_key.hex(),
                ed25519_key.hex(),
            )
        )

    def persisted(self, safety: SafetyState) -> None:
        """Note that a safety state is durable; call it after the store's commit returned."""
        vote = safety.last_vote
        self._append(
            Persisted(
                self._seq,
                self._clock_ms(),
                safety.domain.hex(),
                safety.last_voted_view,
                None if vote is None else vote.id(safety.domain).hex(),
                None if vote is None else vote.view,
                safety.last_timeout,
                safety.last_proposed_view,
                safety.high_qc.view,
                None if safety.high_tc is None else safety.high_tc.view,
                safety.closed,
            )
        )

    def signed_vote(
        self, domain: bytes, header: SignedHeader, block_id: bytes, share: bytes
    ) -> None:
        """Note a vote, before it is sent."""
        self._append(
            Signed(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                "vote",
                header.view,
                share.hex(),
                id=block_id.hex(),
                header=Header.of(header),
            )
        )

    def signed_timeout(self, domain: bytes, view: int, high_qc_view: int, share: bytes) -> None:
        """Note a timeout, before it is sent."""
        self._append(
            Signed(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                "timeout",
                view,
                share.hex(),
                high_qc_view=high_qc_view,
            )
        )

    def signed_proposal(self, domain: bytes, view: int, block_id: bytes, signature: bytes) -> None:
        """Note a proposal (the Ed25519 signature; its vote is noted apart), before it is sent."""
        self._append(
            Signed(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                "proposal",
                view,
                signature.hex(),
                id=block_id.hex(),
            )
        )

    def signed_observation(
        self, domain: bytes, view: int, digest: bytes, body: bytes, signature: bytes
    ) -> None:
        """Note an observation, before it is sent."""
        self._append(
            Signed(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                "observation",
                view,
                signature.hex(),
                id=digest.hex(),
                body=body.hex(),
            )
        )

    def certified(
        self,
        domain: bytes,
        block_id: bytes,
        block: Block,
        parent_id: bytes,
        qc: QC,
        words: Sequence[int],
    ) -> None:
        """Note a block and its certificate, with the report's words."""
        self._append(
            Certified(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                block.view,
                block_id.hex(),
                block.height,
                parent_id.hex(),
                block.justify.view,
                Header.of(block.header),
                qc.bitmap.hex(),
                qc.aggregate.hex(),
                tuple(f"{word:064x}" for word in words),
            )
        )

    def committed(self, domain: bytes, block_id: bytes, block: Block, parent_id: bytes) -> None:
        """Note that a block is final."""
        self._append(
            Committed(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                block.view,
                block.height,
                block_id.hex(),
                parent_id.hex(),
            )
        )

    def began_from(self, domain: bytes, block_id: bytes, block: Block, parent_id: bytes) -> None:
        """Note that a checkpoint is the last final block from now on."""
        self._append(
            BeganFrom(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                block.view,
                block.height,
                block_id.hex(),
                parent_id.hex(),
            )
        )

    def signed_ending(
        self, domain: bytes, kind: Literal["approval", "handover"], digest: bytes, share: bytes
    ) -> None:
        """Note an approval or a handover share, before it is sent."""
        self._append(
            Signed(
                self._seq,
                self._clock_ms(),
                domain.hex(),
                kind,
                0,
                share.hex(),
                id=digest.hex(),
            )
        )

    def handed_over(self, terms: Terms, successor: Successor) -> None:
        """Note that an epoch ended; `terms.epoch` is the next one."""
        certificate = successor.certificate
        self._append(
            HandedOver(
                self._seq,
                self._clock_ms(),
                terms.domain.hex(),
                terms.epoch,
                terms.next_domain.hex(),
                terms.deciding_id.hex(),
                successor.block.view,
                terms.observed_at_ms,
                certificate.bitmap.hex(),
                certificate.aggregate.hex(),
            )
        )

    def halted(self, reason: str) -> None:
        """Note that the member stops by itself, and why."""
        self._append(Halted(self._seq, self._clock_ms(), reason[:4096]))

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def journal_files(directory: Path) -> list[Path]:
    """Return the files of a directory's journal, oldest first."""
    rotated = sorted(directory.glob("journal-*.jsonl"))
    current = directory / JOURNAL_FILE
    return [*rotated, current] if current.exists() else rotated


def read_journal(directory: Path) -> Iterator[Entry]:
    """Return the entries of a directory's journal, oldest first.

    Raises `JournalDamaged` at a line that is no entry or at a gap in the sequence; only an
    unfinished last line of the newest file, as a kill leaves it, is passed over.
    """
    expected: int | None = None
    paths = journal_files(directory)
    for path in paths:
        for number, line, finished in _lines(path):
            if not finished and path == paths[-1]:
                return
            entry = _entry(path, number, line)
            if expected is not None and entry.seq != expected:
                raise JournalDamaged(
                    f"{path}:{number}: entry {entry.seq} follows entry {expected - 1}"
                )
            expected = entry.seq + 1
            yield entry


def recent_observations(directory: Path, domain: bytes) -> set[bytes]:
    """Return the digests of the newest observations that were signed under a domain."""
    found: set[bytes] = set()
    for path in reversed(journal_files(directory)):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _RECENT_BYTES))
            lines = file.read().split(b"\n")
        # The first may be cut, and the last is what follows the last line's end.
        for line in lines[1 if path.stat().st_size > _RECENT_BYTES else 0 : -1]:
            entry = _entry(path, 0, line)
            if not isinstance(entry, Signed) or entry.domain != domain.hex():
                continue
            if entry.kind == "observation" and entry.id is not None:
                found.add(bytes.fromhex(entry.id))
        if len(lines) > 2:
            break
    return found


def require_current(directory: Path, safety: SafetyState) -> None:
    """Raise `SafetyOutdated` if the journal holds a later vote or timeout than a safety state.

    A safety state is durable before anything that it covers is signed, so an older one can only
    be a copy that was put back. The newest file that speaks of the epoch is looked at.
    """
    domain = safety.domain.hex()
    for path in reversed(journal_files(directory)):
        signed = [
            entry.view
            for number, line, finished in _lines(path)
            if finished and isinstance(entry := _entry(path, number, line), Signed)
            if entry.domain == domain and entry.kind in ("vote", "timeout", "proposal")
        ]
        if signed and max(signed) > safety.last_voted_view:
            raise SafetyOutdated(
                f"the safety state knows of signatures up to view {safety.last_voted_view}, but "
                f"{path} holds them up to view {max(signed)}: an older copy was put back, and a "
                "member that starts from it signs twice. Put the newest copy of the data "
                "directory back; if there is none, take part again from the next epoch on."
            )
        if signed:
            return


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX):
            number += 1
            finished = line.endswith(b"\n")
            if not finished and len(line) == LINE_BYTES_MAX:
                raise JournalDamaged(f"{path}:{number}: line longer than {LINE_BYTES_MAX} bytes")
            yield number, line, finished


def _entry(path: Path, number: int, line: bytes) -> Entry:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise JournalDamaged(f"{path}:{number}: not a journal entry: {error}") from None


def _first_entry(path: Path) -> Entry:
    for number, line, _finished in _lines(path):
        return _entry(path, number, line)
    raise JournalDamaged(f"{path}: empty")


def _last_entry(path: Path) -> tuple[int, Entry | None]:
    """Return the length of a file without a torn line, and its last entry."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2 * LINE_BYTES_MAX))
        tail = file.read()
    end = tail.rfind(b"\n") + 1
    intact = size - len(tail) + end
    if end == 0:
        if size > len(tail):
            raise JournalDamaged(f"{path}: the last line is longer than {LINE_BYTES_MAX} bytes")
        return intact, None
    begin = tail.rfind(b"\n", 0, end - 1) + 1
    return intact, _entry(path, 0, tail[begin:end])
