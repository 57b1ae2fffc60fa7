"""Files that hold no secret: read within a bound, written whole or not at all."""

import os
import secrets
from pathlib import Path

from node.errors import NetworkFileError


def read_bounded(path: Path, what: str, bytes_max: int) -> bytes:
    """Return a file's content; raise `NetworkFileError` if it is missing or too long."""
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise NetworkFileError(f"the {what} {path} does not exist; check the path") from None
    except OSError as error:
        raise NetworkFileError(f"the {what} {path} cannot be read: {error.strerror}") from None
    if len(content) > bytes_max:
        raise NetworkFileError(f"the {what} {path} is longer than {bytes_max} bytes")
    return content


def write_atomically(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a file (mode 0644 less the umask); without `replace`, refuse if one is there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError as error:
        raise NetworkFileError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
    except FileExistsError:
        raise NetworkFileError(f"{path} exists; name another file, or move it away") from None
    finally:
        temporary.unlink(missing_ok=True)
