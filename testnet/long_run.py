"""Runs scenarios by their seeds: one to see what happened, or a million to find one that fails.

`python -m testnet.simulation --nodes 4 --seed 17 --trace` shows scenario 17,
`--count 1000000 --jobs 2` is a long run. The exit status is 0 only if none failed.
"""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from testnet.chaos import Trace, chaos
from testnet.real_signatures import real_setting
from testnet.simulation import SimulationFailed
from testnet.succession import succession

FAILURES_SHOWN_MAX = 20
PROGRESS_S = 10
BATCH = 250


def _chaos(n: int, seed: int, trace: Trace | None) -> Callable[[], None]:
    return chaos(n, seed, trace=trace).let_go


def _real(n: int, seed: int, trace: Trace | None) -> Callable[[], None]:
    return chaos(n, seed, make=real_setting, trace=trace).let_go


def _succession(n: int, seed: int, trace: Trace | None) -> Callable[[], None]:
    return succession(n, seed, trace).let_go


KINDS: dict[str, Callable[[int, int, Trace | None], Callable[[], None]]] = {
    "chaos": _chaos,
    "real": _real,
    "succession": _succession,
}
"""Each kind of scenario: runs one, and returns what lets go of it."""

Task = tuple[str, int, range]
Batch = tuple[int, float, list[tuple[int, str]]]
"""How many scenarios, their CPU seconds, and (seed, what went wrong) of each that failed."""


def _run_seeds(task: Task) -> Batch:
    kind, n, seeds = task
    begun = time.process_time()
    failures = []
    with _no_garbage():
        for seed in seeds:
            try:
                KINDS[kind](n, seed, None)()
            except SimulationFailed as error:
                failures.append((seed, str(error)))
    return len(seeds), time.process_time() - begun, failures


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Keep the garbage collector still while runs go by that let go of everything themselves.

    It would look through all that lives on, again and again: a quarter of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        if was_enabled:
            gc.enable()


def run_many(
    n: int, seeds: range, jobs: int = 1, kind: str = "chaos", batch: int = BATCH
) -> Iterator[Batch]:
    """Run scenarios in so many processes, a batch at a time."""
    tasks = ((kind, n, seeds[i : i + batch]) for i in range(0, len(seeds), batch))
    if jobs <= 1 or len(seeds) <= batch:
        yield from map(_run_seeds, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_run_seeds, tasks)


def _show(kind: str, n: int, seed: int) -> int:
    lines = [f"scenario {seed} of {n} members ({kind})"]
    try:
        KINDS[kind](n, seed, lines.append)()
        lines.append("all is well: every promise held, and every honest member went on")
        status = 0
    except SimulationFailed as error:
        lines.append(f"FAILED: {error}")
        status = 1
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        # Whoever reads has seen enough; without this Python complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios from a seed onwards, or show what happens in them; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m testnet.simulation", description=__doc__)
    parser.add_argument("--kind", choices=sorted(KINDS), default="chaos", help="what happens")
    parser.add_argument("--nodes", type=int, default=4, help="members")
    parser.add_argument("--seed", type=int, default=0, help="the first scenario")
    parser.add_argument("--count", type=int, default=1, help="how many scenarios")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the scenarios")
    parser.add_argument("--trace", action="store_true", help="show everything that nodes do")
    given = parser.parse_args(arguments)
    if given.nodes < 4 or given.count < 1 or given.jobs < 1:
        parser.error("--nodes must be at least 4, --count and --jobs at least 1")
    if given.trace:
        seeds = range(given.seed, given.seed + given.count)
        return max(_show(given.kind, given.nodes, seed) for seed in seeds)
    run = LongRun(given.kind, given.nodes, range(given.seed, given.seed + given.count))
    try:
        run.go(given.jobs)
    except KeyboardInterrupt:
        print("stopped early", file=sys.stderr)
        print(run)
        return 130
    print(run)
    return 1 if run.failed else 0


class LongRun:
    """Scenarios one after the other, with word of how it goes on standard error."""

    def __init__(self, kind: str, n: int, seeds: range) -> None:
        self.kind = kind
        self.n = n
        self.seeds = seeds
        self.done = 0
        self.failed: list[int] = []
        self._cpu_s = 0.0
        self._begun = time.monotonic()

    def go(self, jobs: int) -> None:
        """Run all of them in so many processes."""
        told = self._begun
        for count, seconds, failures in run_many(self.n, self.seeds, jobs, self.kind):
            self.done += count
            self._cpu_s += seconds
            for seed, what in failures:
                self._tell_of(seed, what)
            if time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                print(self._progress(), file=sys.stderr, flush=True)

    def _tell_of(self, seed: int, what: str) -> None:
        self.failed.append(seed)
        if len(self.failed) > FAILURES_SHOWN_MAX:
            return
        kind = "" if self.kind == "chaos" else f" KIND={self.kind}"
        again = f"make simulate{kind} N={self.n} SEED={seed} TRACE=1"
        print(f"FAILED: {what}\n    to see it again: {again}", file=sys.stderr, flush=True)

    def _progress(self) -> str:
        took_s = time.monotonic() - self._begun
        total = len(self.seeds)
        left = timedelta(seconds=round(took_s * (total - self.done) / self.done))
        share = f"{self.done} of {total} ({100 * self.done / total:.1f} %)"
        return f"{share}, {len(self.failed)} failed, {self._rate()}, {left} left"

    def _rate(self) -> str:
        took_s = max(time.monotonic() - self._begun, 0.001)
        return f"{rate(self.done, self._cpu_s)}, {self.done / took_s * 60:.0f} a minute in all"

    def __str__(self) -> str:
        shown = ", ".join(map(str, sorted(self.failed)[:FAILURES_SHOWN_MAX]))
        seeds = f": seeds {shown}" if self.failed else ""
        return f"{self.done} scenarios, {len(self.failed)} failed{seeds}; {self._rate()}"


def rate(count: int, cpu_seconds: float) -> str:
    """Say how fast scenarios were run."""
    return f"{count / max(cpu_seconds, 0.001) * 60:.0f} a minute and core"


__all__ = ["KINDS", "LongRun", "main", "rate", "run_many"]
