"""Certified reports, as they are served."""

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from node.store.database import Database
from node.store.errors import StoreError
from node.store.schema import ARCHIVE_MIGRATIONS

_COLUMNS = "epoch, view, id, observed_at_ms, final, body"
_PRUNED_PER_SAVE_MAX = 16
"""Each save removes at most so many old reports, so that no save takes long."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A certified report: `body` is the JSON of the report file, `id` what its votes signed."""

    epoch: int
    view: int
    id: bytes
    observed_at_ms: int
    final: bool
    body: bytes


def _report_of(row: tuple[object, ...]) -> StoredReport:
    epoch, view, report_id, observed_at_ms, final, body = row
    assert isinstance(epoch, int)
    assert isinstance(view, int)
    assert isinstance(report_id, bytes)
    assert isinstance(observed_at_ms, int)
    assert isinstance(body, bytes)
    return StoredReport(epoch, view, report_id, observed_at_ms, bool(final), body)


_BY_VIEW = f"SELECT {_COLUMNS} FROM report WHERE epoch = ? AND view = ?"
_LATEST = f"SELECT {_COLUMNS} FROM report ORDER BY epoch DESC, view DESC LIMIT 1"
_BY_TIME = (
    f"SELECT {_COLUMNS} FROM report WHERE observed_at_ms <= ?"
    " ORDER BY observed_at_ms DESC, epoch DESC, view DESC LIMIT 1"
)


class Archive:
    """Writes reports; prunes the oldest beyond `reports_max`, and those older than an age."""

    def __init__(self, path: Path, reports_max: int, report_age_ms_max: int) -> None:
        """Open or create the file; raise a `StoreError`."""
        assert reports_max >= 1
        assert report_age_ms_max >= 1
        self._database = Database(path, ARCHIVE_MIGRATIONS, synchronous="NORMAL", exclusive=False)
        self._reports_max = reports_max
        self._report_age_ms_max = report_age_ms_max

    def save(self, report: StoredReport) -> bool:
        """Keep a report; return False, and keep the first, if its view has one already."""
        with self._database.transaction():
            return self._save(report)

    def keep(self, work: Iterable[StoredReport | tuple[int, int]]) -> None:
        """Keep reports and mark others, by epoch and view, as final: in one transaction."""
        with self._database.transaction():
            for one in work:
                if isinstance(one, StoredReport):
                    self._save(one)
                else:
                    self._mark_final(*one)

    def _save(self, report: StoredReport) -> bool:
        added = self._database.write(
            f"INSERT OR IGNORE INTO report ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            (
                report.epoch,
                report.view,
                report.id,
                report.observed_at_ms,
                int(report.final),
                report.body,
            ),
        )
        if added:
            self._prune(report.observed_at_ms)
        return added > 0

    def _prune(self, newest_ms: int) -> None:
        # Age is measured in report time: no clock is read, and an idle archive loses nothing.
        self._database.write(
            "DELETE FROM report WHERE seq IN (SELECT seq FROM report"
            " WHERE seq <= (SELECT max(seq) FROM report) - ? ORDER BY seq LIMIT ?)",
            (self._reports_max, _PRUNED_PER_SAVE_MAX),
        )
        self._database.write(
            "DELETE FROM report WHERE seq IN (SELECT seq FROM report"
            " WHERE observed_at_ms < ? ORDER BY observed_at_ms LIMIT ?)",
            (newest_ms - self._report_age_ms_max, _PRUNED_PER_SAVE_MAX),
        )

    def is_empty(self) -> bool:
        """Tell whether no report was ever kept."""
        return not self._database.rows("SELECT 1 FROM report LIMIT 1")

    def mark_final(self, epoch: int, view: int) -> bool:
        """Note that a report's block is final; return False if the report is not here."""
        with self._database.transaction():
            return self._mark_final(epoch, view)

    def _mark_final(self, epoch: int, view: int) -> bool:
        return (
            self._database.write(
                "UPDATE report SET final = 1 WHERE epoch = ? AND view = ?", (epoch, view)
            )
            > 0
        )

    def close(self) -> None:
        """Close the file."""
        self._database.close()


class ArchiveReader:
    """Reads reports beside the running node, through a read-only connection of its own.

    For any thread, one at a time. Raises `StoreError` when the file cannot be read.
    """

    def __init__(self, data_dir: Path) -> None:
        """Prepare to read the archive of a data directory; it is opened when first read."""
        self._path = data_dir / "archive.db"
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def report_at(self, epoch: int, view: int) -> StoredReport | None:
        """Return the report of a view."""
        return self._one(_BY_VIEW, (epoch, view))

    def latest(self) -> StoredReport | None:
        """Return the report of the highest view of the highest epoch."""
        return self._one(_LATEST, ())

    def report_by_time(self, at_ms: int) -> StoredReport | None:
        """Return the newest report observed at or before a time (Unix ms)."""
        return self._one(_BY_TIME, (at_ms,))

    def _one(self, query: str, parameters: tuple[int, ...]) -> StoredReport | None:
        try:
            with self._lock:
                if self._connection is None:
                    uri = f"{self._path.absolute().as_uri()}?mode=ro"
                    self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
                row = self._connection.execute(query, parameters).fetchone()
        except OverflowError:
            return None
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}") from error
        return None if row is None else _report_of(row)

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
