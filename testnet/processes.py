"""Child processes of a testnet: each in a session of its own, none outlives the launcher."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.errors import OperatorError

_TETHER = Path(__file__).with_name("tether.py")
_LOG_TAIL_BYTES = 4_096


class ChildFailed(OperatorError):
    """A process did not start, or ended by itself."""


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours in a new Python process."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """Return this environment without `DIDYMA_*`: those overrides are meant for one node only."""
    return {name: text for name, text in os.environ.items() if not name.startswith("DIDYMA_")}


class Child:
    """One process, which may be started again after it ended; its standard error is a log file."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.starts = 0
        self.killed = False

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def ended_by_itself(self) -> bool:
        """Whether it is gone although nobody stopped it."""
        return self.starts > 0 and not self._stopping and not self.running

    @property
    def killed_by_signal(self) -> bool:
        """Whether it is gone by SIGKILL, whoever sent it."""
        return self._process is not None and self._process.returncode == -signal.SIGKILL

    async def start(self, *, announces: bool = False) -> None:
        """Start the process; one that announces itself prints a JSON line, see `announcement`."""
        assert not self.running
        self._stopping = self.killed = False
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())),
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if announces else log,
                stderr=log,
                env=child_environment(),
                start_new_session=True,
            )
        self.starts += 1

    async def announcement(self, timeout_s: float) -> Any:
        """Return the JSON line that the process prints when it is ready; raise `ChildFailed`."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ChildFailed(f"{self.name} was not ready after {timeout_s:.0f} s") from None
        try:
            return json.loads(line)
        except ValueError:
            raise ChildFailed(f"{self.name} did not start: {self.last_words()}") from None

    async def output(self, bytes_max: int) -> bytes:
        """Return all that a process which announces itself prints until its end, up to a limit."""
        assert self._process is not None
        assert self._process.stdout is not None
        said = b""
        while len(said) <= bytes_max and (chunk := await self._process.stdout.read(1 << 16)):
            said += chunk
        return said[:bytes_max]

    def kill(self) -> None:
        """Kill the process and all of its session at once (SIGKILL)."""
        self._stopping = self.killed = True
        self._signal_group(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process in its tracks (SIGSTOP)."""
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._signal_group(signal.SIGCONT)

    async def stop(self, grace_s: float) -> bool:
        """Ask the process to stop, kill it after the grace; tell whether it went by itself."""
        self._stopping = True
        if self._process is None:
            return True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        self.thaw()  # Else a frozen one would not hear of it.
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            self._signal_group(signal.SIGKILL)
            await self._process.wait()
            return False
        self._signal_group(signal.SIGKILL)
        return True

    async def ended(self) -> int:
        """Wait until the process is gone; return its exit status, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        """Signal the whole session: the leader's group keeps its id while any member lives."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def how_it_ended(self) -> str:
        """Return in words how the process ended, and its last words: they may not tell why."""
        assert self._process is not None
        status = self._process.returncode
        assert status is not None
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how}: {self.last_words()}"

    def last_words(self) -> str:
        """Return the last line of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{said} (log: {self.log})"
