"""Reports are archived in a thread of their own, in order, and a disk that fails is told."""

from pathlib import Path

import pytest

from node.store import ArchiveReader, Archivist, Store, StoredReport, StoreFailed


def report(view: int, body: bytes = b"{}") -> StoredReport:
    return StoredReport(0, view, bytes([view] * 32), 1_000 * view, False, body)


def test_what_is_given_is_kept_in_that_order(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        archivist = Archivist(store)
        archivist.mark_final(0, 2)
        for view in (1, 2, 3):
            archivist.save(lambda view=view: report(view))  # type: ignore[misc]
        archivist.save(lambda: report(2, b"another"))
        archivist.mark_final(0, 1)
        archivist.close()
        archivist.close()
        reader = ArchiveReader(tmp_path / "store")
        kept = [reader.report_at(0, view) for view in (1, 2, 3)]
        assert [one and (one.final, one.body) for one in kept] == [
            (True, b"{}"),
            (False, b"{}"),
            (False, b"{}"),
        ]
        reader.close()


def test_a_disk_that_fails_is_told_to_whoever_comes_next(tmp_path: Path) -> None:
    with Store.create(tmp_path / "store") as store:
        archivist = Archivist(store)

        def full() -> StoredReport:
            raise StoreFailed("the disk is full")

        archivist.save(full)
        archivist._thread.join(30)
        for _ in range(2):
            with pytest.raises(StoreFailed, match="the disk is full"):
                archivist.mark_final(0, 1)
        archivist.close()
