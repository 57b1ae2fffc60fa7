"""The machine: the interpreter and its packages, the disk, the directory, the ports."""

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from node.config import Config, ListenAddress
from node.doctor.finding import Finding, failed, ok, warning
from node.network.address import listen_endpoint_of

SYNCS: Final = 32
SYNC_MS_WARNING: Final = 20.0
SYNC_MS_FAILED: Final = 200.0
"""Two such writes lie in every round, of 250 ms."""

FREE_BYTES_WARNING: Final = 5 << 30
FREE_BYTES_FAILED: Final = 200 << 20
_RECORD: Final = b"\0" * 4_096


def versions() -> Finding:
    """Name what runs, for whoever is asked for help."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("trio", "libp2p", "blspy"))
    python = f"Python {platform.python_version()}"
    if not (3, 11) <= sys.version_info < (3, 13):
        return failed("versions", python, "use Python 3.11 or 3.12")
    return ok("versions", f"didyma {version('didyma')}, {python}, {packages}, {platform.system()}")


def data_directory(config: Config) -> Iterator[Finding]:
    """Look at the modes, the space and the speed of the disk below the data directory."""
    path = existing(config.node.data_dir)
    mode = path.stat().st_mode & 0o777
    if not os.access(path, os.W_OK | os.X_OK):
        yield failed(
            "data directory",
            f"{path} cannot be written by this user",
            f"give it to the user that runs the node: chown -R USER {path}",
        )
        return
    if path == config.node.data_dir and mode & 0o077:
        yield warning(
            "data directory", f"{path} can be read by others (mode {mode:o})", f"chmod 700 {path}"
        )
    else:
        yield ok("data directory", f"{path} belongs to the node alone")
    free = shutil.disk_usage(path).free
    said = f"{free / (1 << 30):.1f} GiB are free below {path}"
    remedy = "make room, or move data_dir: a node whose disk is full stops"
    if free < FREE_BYTES_FAILED:
        yield failed("disk space", said, remedy)
    elif free < FREE_BYTES_WARNING:
        yield warning("disk space", said, remedy)
    else:
        yield ok("disk space", said)
    yield disk_speed(path)


def disk_speed(path: Path) -> Finding:
    """Measure how long a vote takes to become durable: small writes, each followed by a sync."""
    took_ms = []
    try:
        with NamedTemporaryFile(dir=path, prefix=".doctor-") as file:
            for _ in range(SYNCS):
                begun = time.perf_counter()
                os.write(file.fileno(), _RECORD)
                os.fdatasync(file.fileno())
                took_ms.append((time.perf_counter() - begun) * 1000)
    except OSError as error:
        return failed("disk speed", f"cannot write below {path}: {error.strerror}", "mend the disk")
    took_ms.sort()
    median, worst = took_ms[SYNCS // 2], took_ms[-1]
    said = f"a synced write takes {median:.1f} ms, {worst:.1f} ms at worst"
    remedy = "use a local disk with power-loss protection; nothing on a network"
    if median > SYNC_MS_FAILED:
        return failed("disk speed", said, remedy)
    if median > SYNC_MS_WARNING:
        return warning("disk speed", said, remedy)
    return ok("disk speed", said)


def ports(config: Config, running: bool) -> Iterator[Finding]:
    """See whether the node could listen where it should; a running one does."""
    p2p = listen_endpoint_of(config.p2p.listen)
    listeners = [
        ("p2p.listen", ListenAddress(p2p.host, p2p.port)),
        ("api.listen", config.api.listen),
        ("control.listen", config.control.listen),
        ("metrics.listen", config.metrics.listen),
    ]
    for key, address in listeners:
        if running:
            yield ok(key, f"{address}, in use by the running node")
            continue
        problem = _cannot_bind(address)
        if problem:
            yield failed(key, f"{address}: {problem}", f"stop what uses it, or change {key}")
        else:
            yield ok(key, f"{address} is free")
    if not config.metrics.listen.is_loopback:
        yield warning(
            "metrics.listen",
            f"{config.metrics.listen} can be reached from outside",
            "let it listen on loopback, or keep strangers out with a firewall",
        )


def _cannot_bind(address: ListenAddress) -> str:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, where = found[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def existing(path: Path) -> Path:
    """Return the path or the nearest directory above it that is there."""
    with suppress(OSError):
        if path.is_dir():
            return path
    return existing(path.parent) if path.parent != path else path
