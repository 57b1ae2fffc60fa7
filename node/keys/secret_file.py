"""Files that only their owner may read, written whole or not at all, and never overwritten."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from node.errors import KeyFileError

SECRET_BYTES_MAX = 1 << 16
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def make_private_directory(path: Path) -> None:
    """Create a directory (and its parents) for its owner alone, or check that it is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=DIRECTORY_MODE)
        path.chmod(DIRECTORY_MODE)  # whatever the umask took away
    except FileExistsError:
        if not path.is_dir():
            raise KeyFileError(f"{path} is in the way: it is not a directory") from None
        _refuse_others(path, path.stat(), DIRECTORY_MODE)


def write_new(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 atomically; raise `KeyFileError` if anything has that name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename, a link never replaces what is there
    except FileExistsError:
        raise KeyFileError(
            f"{path} exists and is never overwritten; move it away first if you mean to replace it"
        ) from None
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path, what: str, is_ours: Callable[[bytes], bool]) -> bytes:
    """Return the content of a private file; raise `KeyFileError` if others can read it.

    Only of a file whose content `is_ours` is the operator told to change the owner or the mode: a
    wrong path may lead to anything, `/etc/shadow` included.
    """
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeyFileError(
            f"the {what} {path} does not exist; correct its path in the configuration, or make "
            "keys with `didyma keys new`"
        ) from None
    except OSError as error:
        raise KeyFileError(f"the {what} {path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"the {what} {path} is not a regular file")
        content = file.read(SECRET_BYTES_MAX + 1)
    if len(content) > SECRET_BYTES_MAX:
        raise KeyFileError(f"the {what} {path} is longer than {SECRET_BYTES_MAX} bytes")
    if is_ours(content):
        _refuse_others(path, status, FILE_MODE)
    elif _others_may_open(status):
        raise KeyFileError(
            f"{path} can be opened by other users (mode {stat.S_IMODE(status.st_mode):04o}), which "
            f"no {what} may be: correct its path if that is another file, else make it its "
            "owner's alone (mode 0600)"
        )
    return content


def _refuse_others(path: Path, status: os.stat_result, mode: int) -> None:
    if _is_foreign(status):
        raise KeyFileError(
            f"{path} belongs to another user; `chown` it to the one that runs the node"
        )
    if _others_may_open(status):
        found = stat.S_IMODE(status.st_mode)
        raise KeyFileError(
            f"{path} is open to other users (mode {found:04o}); run `chmod {mode:o} {path}`, and "
            "make new keys if others could have read it"
        )


def _is_foreign(status: os.stat_result) -> bool:
    return status.st_uid not in (os.geteuid(), 0)


def _others_may_open(status: os.stat_result) -> bool:
    return _is_foreign(status) or bool(status.st_mode & 0o077)
