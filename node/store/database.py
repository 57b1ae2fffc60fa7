"""How a SQLite file is opened, brought to the present schema and written without doubt."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from node.store.errors import StoreDamaged, StoreFailed, StoreTooNew

DAMAGED_ADVICE = (
    "Keep the file for analysis and check the disk. Never put an older copy in its place: it has "
    "forgotten signatures. If this is safety.db, the member can sign again only from the next "
    "epoch on, or with a new BLS key; archive.db may be moved away and is then begun anew."
)

Migration = Sequence[str]
"""The statements that lead from one schema version to the next; never edited once released."""


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Database:
    """One connection to one SQLite file in WAL mode, with explicit transactions.

    After a write has failed every later one fails too: an fsync that failed once may report
    success the next time although the data is gone. Not for two threads at a time.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration],
        *,
        synchronous: Literal["FULL", "NORMAL"],
        exclusive: bool,
    ) -> None:
        """Open or create the file and apply what its schema lacks.

        Raises `StoreDamaged`, `StoreTooNew` or `StoreFailed`.
        """
        self.path = path
        self._failed: str | None = None
        with self._reading():
            # The umask of the process decides nothing about files of ours.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._reading():
                self._configure(synchronous, exclusive)
                self._migrate(migrations)
        except BaseException:
            self._connection.close()
            raise

    def _configure(self, synchronous: str, exclusive: bool) -> None:
        if exclusive:
            # Before the first access, so that the WAL index lives in memory and nobody else reads.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreFailed(
                f"{self.path} cannot be put into WAL mode (it is in {mode!r}): put the data "
                "directory on a local file system."
            )
        self._connection.execute(f"PRAGMA synchronous = {synchronous}")
        self._connection.execute("PRAGMA trusted_schema = OFF")
        self._connection.execute("PRAGMA journal_size_limit = 16777216")

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise StoreTooNew(
                f"{self.path} has schema {version}, this program knows {len(migrations)}: a later "
                "version of didyma wrote it. Run that version, or a later one."
            )
        for number in range(version, len(migrations)):
            with self.transaction():
                for statement in migrations[number]:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number + 1}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise StoreFailed(f"{self.path} is closed") from error
        except sqlite3.OperationalError as error:
            raise StoreFailed(
                f"cannot use {self.path}: {error}. Check the disk, its free space and who may "
                "write to the data directory."
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(f"{self.path} is damaged: {error}. {DAMAGED_ADVICE}") from error
        except OSError as error:
            raise StoreFailed(f"cannot use {self.path}: {error.strerror}") from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._failed is not None:
            raise StoreFailed(f"an earlier write failed: {self._failed}")
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._failed = f"{self.path}: {error}"
            raise StoreFailed(
                f"could not write {self.path}: {error}. The node stops, since it cannot know what "
                "is durable. Check the disk and its free space, then start it again."
            ) from error

    @property
    def failed(self) -> bool:
        """Tell whether a write has failed."""
        return self._failed is not None

    def begin(self) -> None:
        """Begin a transaction, unless one is open."""
        with self._writing():
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit what is open; with synchronous FULL it is durable when this returns."""
        with self._writing():
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the body writes, or nothing of it."""
        self.begin()
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.commit()

    def write(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Execute a statement that changes something; return the number of rows it changed."""
        with self._writing():
            return self._connection.execute(statement, parameters).rowcount

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Return what a query finds; the connection sees its own open transaction."""
        with self._reading():
            return self._connection.execute(query, parameters).fetchall()

    def check(self, table: str) -> None:
        """Raise `StoreDamaged` unless the pages of one table are sound."""
        findings = self.rows(f"PRAGMA quick_check('{table}')")
        if findings != [("ok",)]:
            raise StoreDamaged(f"{self.path} is damaged: {findings[0][0]}. {DAMAGED_ADVICE}")

    def close(self) -> None:
        """Close without committing; further calls do nothing."""
        self._connection.close()
