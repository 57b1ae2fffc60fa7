"""One process per data directory."""

import contextlib
import fcntl
import os
from pathlib import Path

from node.store.errors import StoreFailed, StoreLocked

LOCK_FILE = "lock"


class DirectoryLock:
    """An exclusive lock on a directory, held until `release` or the end of the process.

    The kernel drops it when the process dies, whatever the cause, so it is never stale.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock; raise `StoreLocked` at once if another process holds it."""
        path = directory / LOCK_FILE
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFailed(
                f"cannot open the lock file {path}: {error.strerror}. Check that the data "
                "directory belongs to the user that runs the node and is not mounted read-only."
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreLocked(
                f"{who} already uses the data directory {directory}. Two processes that sign for "
                "one member would convict it of equivocation: stop the other one, or give this "
                "node a data directory and keys of its own."
            ) from None
        # For the message above only; the lock itself is the kernel's.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let others in; further calls do nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
