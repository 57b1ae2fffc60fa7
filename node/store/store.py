"""What a node keeps on disk: its safety states, blocks, evidence and reports."""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from consensus.digests import keccak
from consensus.messages import BLOCKS_PER_RESPONSE_MAX, FRAME_BYTES_MAX, QC, Block
from consensus.safety import SafetyState
from node.store.archive import Archive, StoredReport
from node.store.database import DAMAGED_ADVICE, Database, sync_directory
from node.store.errors import (
    StoreDamaged,
    StoreExists,
    StoreFailed,
    StoreMissing,
)
from node.store.lock import DirectoryLock
from node.store.regression import refuse_regression
from node.store.schema import SAFETY_MIGRATIONS

SAFETY_FILE = "safety.db"
ARCHIVE_FILE = "archive.db"
JOURNAL_DIRECTORY = "journal"
"""Beside the two files stands what the member signed, see `node.journal`."""

_PENDING_WRITES_MAX = 256
"""So many block writes at most wait for the next safety state to make them durable."""

_BLOCKS_PRUNED_PER_COMMIT_MAX = 16
_GAPS_MAX = 256
"""So many gaps of an epoch are remembered, the newest."""

_SKIPPED_PRUNED_MAX = 64
EVIDENCE_PER_MEMBER_MAX = 32
"""So much of each kind. One proof convicts; a member that offends in every view must not fill the
disk."""

WITNESSED_PER_EPOCH_MAX = 40_000

_RESPONSE_BYTES_MAX = FRAME_BYTES_MAX - 4096
"""What fits into one frame beside the envelope of a response."""

_block_encoder = msgspec.msgpack.Encoder()
_block_decoder = msgspec.msgpack.Decoder(Block)


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept: blocks and reports by count, reports by age too; safety states forever."""

    blocks_max: int = 100_000
    reports_max: int = 250_000
    report_age_ms_max: int = 30 * 24 * 3_600_000

    def __post_init__(self) -> None:
        """Check ranges; raise `ValueError`."""
        for name, least in (("blocks_max", 16), ("reports_max", 1), ("report_age_ms_max", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, is {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Head:
    """The newest final block, with the encoded state after it."""

    block_id: bytes
    block: Block
    height: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """What was skipped: the blocks above one final block (or the genesis) and below another."""

    above_view: int
    above_height: int
    view: int
    height: int


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """Verified evidence against one member: `data` is its encoded form (`consensus.evidence`)."""

    domain: bytes
    kind: str
    member: int
    view: int
    found_at_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing is signed with a store any more, and since when (Unix ms)."""

    at_ms: int
    reason: str


class _Turns:
    """A lock whose holder first does something that was put off."""

    def __init__(self, first: Callable[[], None]) -> None:
        self.lock = threading.Lock()
        self._first = first

    def __enter__(self) -> None:
        self.lock.acquire()
        try:
            self._first()
        except BaseException:
            self.lock.release()
            raise

    def __exit__(self, *_exception: object) -> None:
        self.lock.release()


class Store:
    """The data directory of one node, held exclusively.

    Only `save_safety` and `flush` make durable what was written before: blocks and the head ride
    with the next safety state, in one transaction and one fsync, so a vote is never durable without
    the block it is for. Any thread may call, one call at a time takes effect. A write that fails
    raises `StoreFailed`, as does every later one: stop the node.
    """

    def __init__(self, directory: Path, retention: Retention, *, create: bool) -> None:
        """Use `Store.create` and `Store.open`."""
        self._waiting: deque[Callable[[], None]] = deque()
        """Writes that are done by whoever has the next turn."""
        self._mutex = _Turns(self._write_waiting)
        # Of its own: a vote that is to be made durable never waits for the archive.
        self._archive_mutex = threading.Lock()
        self._retention = retention
        self._pending_writes = 0
        self._saved: dict[bytes, SafetyState] = {}
        self._lock = DirectoryLock(directory)
        self._opened: list[Database | Archive] = []
        try:
            self._database = Database(
                directory / SAFETY_FILE, SAFETY_MIGRATIONS, synchronous="FULL", exclusive=True
            )
            self._opened.append(self._database)
            for table in ("store", "own_key", "safety"):
                self._database.check(table)
            self._archive = Archive(
                directory / ARCHIVE_FILE, retention.reports_max, retention.report_age_ms_max
            )
            self._opened.append(self._archive)
            self.instance = self._begin(directory) if create else self._instance(directory)
        except BaseException:
            self.close(commit=False)
            raise

    @classmethod
    def create(cls, directory: Path, retention: Retention | None = None) -> Self:
        """Make a store in a new or empty place, durably, and open it.

        Raises `StoreExists` if one is there.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            store = cls(directory, retention or Retention(), create=True)
            sync_directory(directory)
            sync_directory(directory.resolve().parent)
        except OSError as error:
            raise StoreFailed(f"cannot make a store in {directory}: {error.strerror}") from error
        return store

    @classmethod
    def open(cls, directory: Path, retention: Retention | None = None) -> Self:
        """Open the store in a directory; raise a `StoreError` that says what to do."""
        if not (directory / SAFETY_FILE).exists():
            raise StoreMissing(
                f"there is no store in {directory}. Check data_dir in the configuration: if the "
                "member has run before, its store must be found, since it knows what the member "
                "signed. `didyma init` makes the store of a new member."
            )
        return cls(directory, retention or Retention(), create=False)

    def _begin(self, directory: Path) -> str:
        instance = secrets.token_hex(16)
        with self._database.transaction():
            if self._database.rows("SELECT instance FROM store"):
                raise StoreExists(
                    f"there is a store in {directory} already; nothing is overwritten. Choose "
                    "another data directory, or run the node on this one."
                )
            self._database.write("INSERT INTO store VALUES (1, ?)", (instance,))
        return instance

    def _instance(self, directory: Path) -> str:
        rows = self._database.rows("SELECT instance FROM store")
        if not rows and self._archive.is_empty() and not (directory / JOURNAL_DIRECTORY).exists():
            raise StoreMissing(
                f"the store in {directory} was never finished, so nothing was signed with it: run "
                "`didyma init` again."
            )
        if not rows:
            raise StoreDamaged(
                f"{self._database.path} is empty, though the member has run with it. "
                f"{DAMAGED_ADVICE}"
            )
        return str(rows[0][0])

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close it."""
        self.close()

    def close(self, *, commit: bool = True) -> None:
        """Make durable what waits, close the files and let others in; may be called twice."""
        with self._mutex.lock:
            try:
                if commit and self._opened and not self._database.failed:
                    self._write_waiting()
                    self._database.commit()
            finally:
                for opened in self._opened:
                    opened.close()
                self._opened.clear()
                self._lock.release()

    @contextmanager
    def _pending(self) -> Iterator[None]:
        """Add writes to the transaction that the next safety state commits."""
        with self._mutex:
            self._database.begin()
            yield
            self._pending_writes += 1
            if self._pending_writes >= _PENDING_WRITES_MAX:
                self._commit()

    def _later(self, write: Callable[[], None]) -> None:
        """Put a write off until anything else is written or read, so that the caller never waits.

        The next safety state is, as a rule, and the disk's own thread then does both.
        """
        self._waiting.append(write)
        full = self._pending_writes + len(self._waiting) >= _PENDING_WRITES_MAX
        if full or self._database.failed:
            self.flush()

    def _write_waiting(self) -> None:
        while self._waiting:
            self._database.begin()
            self._waiting.popleft()()
            self._pending_writes += 1

    def _commit(self) -> None:
        self._database.commit()
        self._pending_writes = 0

    def flush(self) -> None:
        """Make durable what was written so far."""
        with self._mutex:
            self._commit()

    # What a member must never forget.

    def save_safety(self, safety: SafetyState) -> None:
        """Make a safety state durable, and every block written before it.

        Raises `SafetyRegression` if it forgets what the stored one remembers.
        """
        with self._mutex:
            stored = self._load_safety(safety.domain)
            if stored is not None:
                refuse_regression(stored, safety)
            self._database.begin()
            self._write_safety(safety)
            self._commit()
            self._saved[safety.domain] = safety

    def _write_safety(self, safety: SafetyState) -> None:
        encoded = safety.encode()
        self._database.write(
            "INSERT INTO safety VALUES (?, ?, ?) ON CONFLICT (domain)"
            " DO UPDATE SET state = excluded.state, digest = excluded.digest",
            (safety.domain, encoded, keccak(encoded)),
        )

    def load_safety(self, domain: bytes) -> SafetyState | None:
        """Return the safety state of an epoch; raise `StoreDamaged` if it does not read back."""
        with self._mutex:
            return self._load_safety(domain)

    def _load_safety(self, domain: bytes) -> SafetyState | None:
        known = self._saved.get(domain)
        if known is not None:
            return known
        rows = self._database.rows("SELECT state, digest FROM safety WHERE domain = ?", (domain,))
        if not rows:
            return None
        state, digest = rows[0]
        assert isinstance(state, bytes)
        try:
            safety = SafetyState.decode(state)
        except ValueError as error:
            raise StoreDamaged(f"{self._database.path}: {error}. {DAMAGED_ADVICE}") from error
        if keccak(state) != digest or safety.domain != domain:
            raise StoreDamaged(
                f"{self._database.path}: the safety state is not what was saved. {DAMAGED_ADVICE}"
            )
        self._saved[domain] = safety
        return safety

    def record_own_key(self, bls_key: bytes) -> None:
        """Note that a BLS key was made together with this store, durably.

        Whatever the key signs is then known here, so it may begin in any epoch.
        """
        with self._mutex:
            self._database.begin()
            self._database.write("INSERT OR IGNORE INTO own_key VALUES (?)", (bls_key,))
            self._commit()

    def is_own_key(self, bls_key: bytes) -> bool:
        """Tell whether this store has seen all that a BLS key ever signed."""
        with self._mutex:
            return bool(self._database.rows("SELECT 1 FROM own_key WHERE bls_key = ?", (bls_key,)))

    # How what must never be forgotten moves to another machine.

    def safety_states(self) -> list[SafetyState]:
        """Return the safety states of all epochs."""
        with self._mutex:
            domains = self._database.rows("SELECT domain FROM safety ORDER BY rowid")
            states = [self._load_safety(bytes(domain)) for (domain,) in domains]  # type: ignore[call-overload]
        return [state for state in states if state is not None]

    def own_keys(self) -> list[bytes]:
        """Return the BLS keys of which this store has seen all that they ever signed."""
        with self._mutex:
            return [bytes(key) for (key,) in self._database.rows("SELECT bls_key FROM own_key")]  # type: ignore[call-overload]

    def take_over(self, bls_key: bytes, states: Sequence[SafetyState]) -> None:
        """Make a key's safety states from elsewhere durable: all of them or none; end a hold.

        Raises `SafetyRegression` if one of them forgets what the stored one remembers.
        """
        with self._mutex:
            for safety in states:
                stored = self._load_safety(safety.domain)
                if stored is not None:
                    refuse_regression(stored, safety)
            # What other threads wrote before is not part of this transaction.
            self._commit()
            with self._database.transaction():
                self._database.write("INSERT OR IGNORE INTO own_key VALUES (?)", (bls_key,))
                for safety in states:
                    self._write_safety(safety)
                self._database.write("DELETE FROM hold")
            for safety in states:
                self._saved[safety.domain] = safety

    def hold(self, at_ms: int, reason: str) -> None:
        """Note, durably, that nothing may be signed with this store; an older hold stays."""
        with self._mutex:
            self._database.begin()
            self._database.write("INSERT OR IGNORE INTO hold VALUES (1, ?, ?)", (at_ms, reason))
            self._commit()

    def held(self) -> Hold | None:
        """Return why nothing may be signed with this store, if that is so."""
        with self._mutex:
            rows = self._database.rows("SELECT at_ms, reason FROM hold")
        return Hold(*rows[0]) if rows else None  # type: ignore[arg-type]

    def resume(self) -> None:
        """Forget a hold, durably."""
        with self._mutex:
            self._database.begin()
            self._database.write("DELETE FROM hold")
            self._commit()

    # How epochs end.

    def save_successor(self, domain: bytes, successor: bytes) -> None:
        """Note, durably and for good, how an epoch ended; later ones for it change nothing."""
        with self._mutex:
            self._database.begin()
            self._database.write(
                "INSERT OR IGNORE INTO successor VALUES (?, ?, ?)",
                (domain, successor, keccak(successor)),
            )
            self._commit()

    def successor(self, domain: bytes) -> bytes | None:
        """Return how an epoch ended; raise `StoreDamaged` if that does not read back."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT successor, digest FROM successor WHERE domain = ?", (domain,)
            )
        if not rows:
            return None
        successor, digest = rows[0]
        assert isinstance(successor, bytes)
        if keccak(successor) != digest:
            raise StoreDamaged(
                f"{self._database.path}: a successor is not what was saved. {DAMAGED_ADVICE}"
            )
        return successor

    def save_candidate(self, domain: bytes, document: bytes, approved: bool) -> None:
        """Keep, durably, what this member proposes or approves as an epoch's successor."""
        with self._mutex:
            self._database.begin()
            self._database.write(
                "INSERT OR REPLACE INTO candidate VALUES (?, ?, ?)",
                (domain, document, int(approved)),
            )
            self._commit()

    def candidate(self, domain: bytes) -> tuple[bytes, bool] | None:
        """Return what this member proposes as an epoch's successor, and whether it approves."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT document, approved FROM candidate WHERE domain = ?", (domain,)
            )
        if not rows:
            return None
        document, approved = rows[0]
        assert isinstance(document, bytes)
        return document, bool(approved)

    # Blocks, needed after a restart and by members that fell behind.

    def save_block(self, domain: bytes, block_id: bytes, block: Block) -> None:
        """Keep a block; durable with the next safety state."""

        def write() -> None:
            self._database.write(
                "INSERT OR IGNORE INTO block (domain, id, view, block) VALUES (?, ?, ?, ?)",
                (domain, block_id, block.view, _block_encoder.encode(block)),
            )

        self._later(write)

    def load_block(self, domain: bytes, block_id: bytes) -> Block | None:
        """Return a block that is kept."""
        with self._mutex:
            return self._load_block(domain, block_id)

    def _load_block(self, domain: bytes, block_id: bytes) -> Block | None:
        rows = self._database.rows(
            "SELECT block FROM block WHERE domain = ? AND id = ?", (domain, block_id)
        )
        return self._decoded(rows[0][0]) if rows else None

    def _decoded(self, encoded: object) -> Block:
        assert isinstance(encoded, bytes)
        try:
            return _block_decoder.decode(encoded)
        except msgspec.DecodeError as error:
            raise StoreDamaged(
                f"{self._database.path}: damaged block: {error}. {DAMAGED_ADVICE}"
            ) from error

    def blocks_from(
        self,
        domain: bytes,
        block_id: bytes,
        known_view: int,
        id_of: Callable[[QC], bytes],
        *,
        count_max: int = BLOCKS_PER_RESPONSE_MAX,
        bytes_max: int = _RESPONSE_BYTES_MAX,
    ) -> tuple[Block, ...]:
        """Return a block and its ancestors above `known_view`, newest first, within the bounds.

        `id_of` gives the id of the block that a certificate certifies (`EpochContext.id_of`).
        """
        found: list[Block] = []
        size = 0
        while len(found) < count_max:
            with self._mutex:
                rows = self._database.rows(
                    "SELECT block FROM block WHERE domain = ? AND id = ?", (domain, block_id)
                )
            if not rows:
                break
            block = self._decoded(rows[0][0])
            assert isinstance(rows[0][0], bytes)
            size += len(rows[0][0])
            if block.view <= known_view or size > bytes_max:
                break
            found.append(block)
            block_id = id_of(block.justify)
        return tuple(found)

    def commit_block(
        self, domain: bytes, block_id: bytes, height: int, view: int, state: bytes
    ) -> None:
        """Note that a saved block is final and is the head; durable with the next safety state."""

        def write() -> None:
            if not self._database.write(
                "UPDATE block SET final = 1 WHERE domain = ? AND id = ?", (domain, block_id)
            ):
                raise ValueError(f"block {block_id.hex()} was not saved before it was committed")
            self._set_head(domain, block_id, height, view, state)

        self._later(write)

    def _set_head(
        self, domain: bytes, block_id: bytes, height: int, view: int, state: bytes
    ) -> None:
        self._database.write(
            "INSERT INTO head VALUES (?, ?, ?, ?, ?) ON CONFLICT (domain) DO UPDATE SET"
            " id = excluded.id, view = excluded.view, height = excluded.height,"
            " state = excluded.state",
            (domain, block_id, view, height, state),
        )
        self._database.write(
            "DELETE FROM block WHERE seq IN (SELECT seq FROM block WHERE seq <="
            " (SELECT max(seq) FROM block) - ? AND domain = ? AND view < ?"
            " ORDER BY seq LIMIT ?)",
            (self._retention.blocks_max, domain, view, _BLOCKS_PRUNED_PER_COMMIT_MAX),
        )

    # What a member skipped, and gets back for its archive.

    def save_checkpoint(
        self,
        domain: bytes,
        block_id: bytes,
        block: Block,
        state: bytes,
        gap: Gap,
        above_id: bytes,
        above_state: bytes,
    ) -> None:
        """Make a later final block the head, without those in the gap below it.

        `above_state` is the encoded state at the gap's lower end. Durable with the next safety
        state. Gaps that touch become one.
        """
        with self._pending():
            self._database.write(
                "INSERT INTO block (domain, id, view, block, final) VALUES (?, ?, ?, ?, 1)"
                " ON CONFLICT (domain, id) DO UPDATE SET final = 1",
                (domain, block_id, block.view, _block_encoder.encode(block)),
            )
            self._set_head(domain, block_id, block.height, block.view, state)
            self._note_gap(domain, gap, above_id, above_state)

    def _note_gap(self, domain: bytes, gap: Gap, above_id: bytes, above_state: bytes) -> None:
        touching = self._database.rows(
            "SELECT above_view, above_height, above_id, above_state FROM gap"
            " WHERE domain = ? AND view = ?",
            (domain, gap.above_view),
        )
        lower = (gap.above_view, gap.above_height, above_id, above_state)
        above_view, above_height, above_id, above_state = touching[0] if touching else lower  # type: ignore[assignment]
        self._database.write(
            "DELETE FROM gap WHERE domain = ?1 AND above_view >= ?2 AND view <= ?3",
            (domain, above_view, gap.view),
        )
        self._database.write(
            "INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)",
            (domain, above_view, above_height, gap.view, gap.height, above_id, above_state),
        )
        self._database.write(
            "DELETE FROM gap WHERE domain = ?1 AND view <= (SELECT view FROM gap"
            " WHERE domain = ?1 ORDER BY view DESC LIMIT 1 OFFSET ?2)",
            (domain, _GAPS_MAX),
        )

    def gaps(self, domain: bytes) -> list[Gap]:
        """Return what was skipped in an epoch, oldest first: nobody here knows these blocks."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT above_view, above_height, view, height FROM gap WHERE domain = ?"
                " ORDER BY view",
                (domain,),
            )
        return [Gap(*row) for row in rows]  # type: ignore[arg-type]

    def below_gap(self, domain: bytes, gap: Gap) -> tuple[bytes, bytes]:
        """Return the id of the block at a gap's lower end, and the encoded state after it."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT above_id, above_state FROM gap WHERE domain = ? AND view = ?",
                (domain, gap.view),
            )
        ((above_id, above_state),) = rows
        assert isinstance(above_id, bytes)
        assert isinstance(above_state, bytes)
        return above_id, above_state

    def blocks_of_view(self, domain: bytes, view: int, *, final_only: bool = False) -> list[Block]:
        """Return the blocks of one view that are kept."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT block FROM block WHERE domain = ? AND view = ? AND final >= ?",
                (domain, view, int(final_only)),
            )
        return [self._decoded(block) for (block,) in rows]

    def save_skipped(self, domain: bytes, gap: Gap, blocks: Sequence[Block]) -> None:
        """Keep blocks of a gap until all of it is here."""
        with self._pending():
            for block in blocks:
                self._database.write(
                    "INSERT OR IGNORE INTO skipped (domain, gap, view, block) VALUES (?, ?, ?, ?)",
                    (domain, gap.view, block.view, _block_encoder.encode(block)),
                )

    def skipped(
        self, domain: bytes, gap: Gap, *, count_max: int = BLOCKS_PER_RESPONSE_MAX
    ) -> list[Block]:
        """Return the lowest blocks of a gap that came back so far, oldest first."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT block FROM skipped WHERE domain = ? AND gap = ? AND view > ?"
                " ORDER BY view LIMIT ?",
                (domain, gap.view, gap.above_view, count_max),
            )
        return [self._decoded(block) for (block,) in rows]

    def narrow_gap(
        self, domain: bytes, gap: Gap, above: Block, above_id: bytes, above_state: bytes
    ) -> Gap:
        """Move a gap's lower end upwards to a block that is known again; return what is left."""
        left = Gap(above.view, above.height, gap.view, gap.height)
        with self._pending():
            self._database.write(
                "UPDATE gap SET above_view = ?, above_height = ?, above_id = ?, above_state = ?"
                " WHERE domain = ? AND view = ?",
                (above.view, above.height, above_id, above_state, domain, gap.view),
            )
        return left

    def close_gap(self, domain: bytes, gap: Gap) -> None:
        """Note that a gap is filled."""
        with self._pending():
            self._database.write(
                "DELETE FROM gap WHERE domain = ? AND view = ?", (domain, gap.view)
            )

    def prune_skipped(self, domain: bytes, without: Sequence[Gap] = ()) -> bool:
        """Drop some blocks that no gap needs any more, or one of these; False if none is left.

        Not many at a time, since a vote may wait for the transaction.
        """
        for gap in without:
            if self._prune_skipped("gap = ?2", (domain, gap.view)):
                return True
        needed = "EXISTS (SELECT 1 FROM gap WHERE domain = ?1 AND gap.view = skipped.gap"
        return self._prune_skipped(f"NOT {needed} AND above_view < skipped.view)", (domain,))

    def _prune_skipped(self, which: str, parameters: tuple[object, ...]) -> bool:
        with self._pending():
            return (
                self._database.write(
                    "DELETE FROM skipped WHERE seq IN (SELECT seq FROM skipped"
                    f" WHERE domain = ?1 AND {which} LIMIT {_SKIPPED_PRUNED_MAX})",
                    parameters,
                )
                > 0
            )

    @property
    def blocks_max(self) -> int:
        """How many blocks are kept at most."""
        return self._retention.blocks_max

    def head(self, domain: bytes) -> Head | None:
        """Return the newest final block and its state; None before the first, or if it is lost."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT id, height, state FROM head WHERE domain = ?", (domain,)
            )
            if not rows:
                return None
            block_id, height, state = rows[0]
            assert isinstance(block_id, bytes)
            assert isinstance(height, int)
            assert isinstance(state, bytes)
            block = self._load_block(domain, block_id)
            if block is None:
                return None  # Lost, and not needed for safety: a checkpoint of the others will do.
            return Head(block_id, block, height, state)

    def uncommitted(self, domain: bytes) -> list[tuple[bytes, Block]]:
        """Return the blocks above the head, by ascending view, as a restart needs them."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT id, block FROM block WHERE domain = ?1 AND NOT final AND view >"
                " coalesce((SELECT view FROM head WHERE domain = ?1), 0) ORDER BY view, seq",
                (domain,),
            )
        return [(bytes(block_id), self._decoded(block)) for block_id, block in rows]  # type: ignore[call-overload]

    # Reports and evidence.

    def save_report(self, report: StoredReport) -> bool:
        """Archive a report; return False, and keep the first, if its view has one already."""
        with self._archive_mutex:
            return self._archive.save(report)

    def archive(self, work: Iterable[StoredReport | tuple[int, int]]) -> None:
        """Archive reports and note that those of other epochs and views are final, at once."""
        with self._archive_mutex:
            self._archive.keep(work)

    def mark_report_final(self, epoch: int, view: int) -> bool:
        """Note that a report's block is final; return False if the report is not archived."""
        with self._archive_mutex:
            return self._archive.mark_final(epoch, view)

    def save_evidence(self, evidence: StoredEvidence) -> bool:
        """Keep proof of an offence durably; return False if it is known or enough is kept."""
        with self._mutex:
            self._database.begin()
            added = self._database.write(
                "INSERT OR IGNORE INTO evidence (domain, kind, member, view, found_at_ms, data)"
                " SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM evidence"
                " WHERE domain = ?1 AND member = ?3 AND kind = ?2) < ?7",
                (
                    evidence.domain,
                    evidence.kind,
                    evidence.member,
                    evidence.view,
                    evidence.found_at_ms,
                    evidence.data,
                    EVIDENCE_PER_MEMBER_MAX,
                ),
            )
            self._commit()
            return added > 0

    def evidence(self) -> list[StoredEvidence]:
        """Return all that is kept, oldest first."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT domain, kind, member, view, found_at_ms, data FROM evidence ORDER BY seq"
            )
        return [StoredEvidence(*row) for row in rows]  # type: ignore[arg-type]

    def save_witnessed(self, domain: bytes, data: bytes) -> None:
        """Keep a certificate that may prove an offence; durable with the next safety state.

        The oldest of the epoch go when there are too many.
        """

        def write() -> None:
            self._database.write(
                "INSERT INTO witnessed (domain, data) VALUES (?, ?)", (domain, data)
            )
            self._database.write(
                "DELETE FROM witnessed WHERE domain = ?1 AND seq <="
                " (SELECT max(seq) FROM witnessed) - ?2",
                (domain, WITNESSED_PER_EPOCH_MAX),
            )

        self._later(write)

    def witnessed(self, domain: bytes) -> list[bytes]:
        """Return the certificates of an epoch that are kept, oldest first."""
        with self._mutex:
            rows = self._database.rows(
                "SELECT data FROM witnessed WHERE domain = ? ORDER BY seq", (domain,)
            )
        return [row[0] for row in rows]  # type: ignore[misc]
