"""Archives reports in a thread of its own, so that the consensus waits neither for that disk nor
for the JSON that is kept.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from node.store.archive import StoredReport
from node.store.errors import StoreFailed
from node.store.store import Store

WAITING_MAX: Final = 4096
"""So much may wait for a slow disk: many minutes of rounds."""

Work = Callable[[], StoredReport] | tuple[int, int]
"""Makes a report that is to be kept; or the epoch and view of one that has become final."""


class Archivist:
    """Keeps what it is given, in that order, all that waits in one transaction.

    A killed process loses what came in its last milliseconds. A write that fails makes every later
    call raise `StoreFailed`, as the store's own do: stop the node.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._failed: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="archivist", daemon=True)
        self._thread.start()

    def save(self, make: Callable[[], StoredReport]) -> None:
        """Keep a report, unless its view has one already; it is made in the thread."""
        self._put(make)

    def mark_final(self, epoch: int, view: int) -> None:
        """Note that a report's block is final, if the report is kept."""
        self._put((epoch, view))

    def _put(self, work: Work) -> None:
        if self._failed is not None:
            raise StoreFailed(f"reports are no longer archived: {self._failed}") from self._failed
        if self._queue.qsize() >= WAITING_MAX:
            raise StoreFailed("the disk is too slow to archive the reports: check it")
        self._queue.put(work)

    def close(self) -> None:
        """Keep what waits, then end; may be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        try:
            while (work := self._queue.get()) is not None:
                waiting = [work]
                while not self._queue.empty() and (work := self._queue.get()) is not None:
                    waiting.append(work)
                self._store.archive([one if isinstance(one, tuple) else one() for one in waiting])
                if work is None:
                    return
        except BaseException as error:
            self._failed = error
