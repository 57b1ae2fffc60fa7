"""Plants a known mistake in a copy of the packages and runs what must catch it.

`python tests/mutants/plant.py` lists the mistakes, `plant.py NAME` plants one and tells whether
each of its tests failed, at what cost; `plant.py --table` plants one after the other and prints a
line for each; `plant.py --unmodified` runs all of these tests on the code as it is, where each must
pass. Nothing outside a temporary directory is changed.

A mistake is a file `NAME.toml` beside this one: which mistake of `MISTAKES` it is, the texts to
replace, and the tests (`caught_by`) and random scenarios (`chaos` or `succession`: members, at most
so many) that see it. A text that does not occur exactly once is an error, never a mistake that
nobody caught.
"""

import argparse
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CPU_SECONDS_MAX = 60
WALL_SECONDS_MAX = 900

MISTAKES = (
    "persist and sign not atomic",
    "no fsync",
    "timeouts not persisted",
    "the view recovered from the QC but not the TC",
    "commit without the consecutive-view check",
    "voting after a timeout",
    "a TC taken without the check of its highest QC",
    "a lost high QC",
    "a TC not broadcast",
    "unbounded back-off",
    "weights summed across epochs",
    "an equivocating proposal that crashes the aggregator",
    "a signer counted twice or a bit >= n",
    "infinity or off-subgroup points",
    "a rogue key",
    "replay across epoch or network",
    "unbounded buffers for future views",
    "an await between check and set",
    "an observation not bound to its view",
    "a QC whose view is not covered by its signatures",
    "the window checked before the attached certificates are read",
    "two different timeouts of an honest member for one view",
    "a carried state taken from the committed instead of the justify block",
    "a checkpoint whose state nobody agreed on",
    "a checkpoint past the end of an epoch",
    "voting after the epoch is closed",
    "a closed epoch that is not durable",
    "something that counts after the end of an epoch",
    "a successor that no quorum approved",
    "an old epoch's state in the next one",
    "an end that only some hear of",
    "two processes that sign for one member",
)
"""The mistakes that the tests must be able to catch."""


class DoesNotApply(Exception):
    """The code has changed: the mistake must be written anew."""


@dataclass(frozen=True)
class Change:
    """One text of one file, and what takes its place."""

    file: str
    old: str
    new: str

    @property
    def package(self) -> str:
        return self.file.partition("/")[0]


@dataclass(frozen=True)
class Mutant:
    """A mistake that can be planted; `runs` is (kind, members, scenarios) or None."""

    name: str
    mistake: str
    changes: tuple[Change, ...]
    caught_by: tuple[str, ...]
    runs: tuple[str, int, int] | None


def load(name: str) -> Mutant:
    """Read a mutant's file."""
    document = tomllib.loads((HERE / f"{name}.toml").read_text())
    changes = tuple(Change(**change) for change in document.pop("change"))
    caught_by = tuple(document.pop("caught_by"))
    kinds = [kind for kind in ("chaos", "succession") if kind in document]
    runs = [(kind, *document.pop(kind)) for kind in kinds]
    mistake = document.pop("mistake")
    if document or mistake not in MISTAKES or not changes or not caught_by or len(runs) > 1:
        raise ValueError(f"{name}.toml is not a mutant: {sorted(document)} {mistake!r}")
    return Mutant(name, mistake, changes, caught_by, runs[0] if runs else None)


def names() -> list[str]:
    """Return the names of all mutants."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def package_directory(package: str) -> Path:
    """Return where a package is, be it in the checkout or installed; it is not imported."""
    if (ROOT / package / "__init__.py").exists():
        return ROOT / package
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise DoesNotApply(f"there is no package {package}")
    return Path(spec.origin).parent


def planted(change: Change, text: str) -> str:
    """Return a file's text with the mistake in it; raise `DoesNotApply`."""
    found = text.count(change.old)
    if found != 1 or change.old == change.new:
        raise DoesNotApply(f"{change.file}: {found} times, not once:\n{change.old}")
    return text.replace(change.old, change.new)


def check(mutant: Mutant) -> None:
    """Raise `DoesNotApply` unless every change of a mutant fits the code."""
    texts: dict[str, str] = {}
    for change in mutant.changes:
        path = package_directory(change.package).parent / change.file
        text = planted(change, texts.get(change.file) or path.read_text())
        compile(text, change.file, "exec", dont_inherit=True)
        texts[change.file] = text


@contextmanager
def copy_of(packages: Sequence[str]) -> Iterator[Path]:
    """Copy packages to a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="didyma-mutant-") as directory:
        for package in packages:
            shutil.copytree(
                package_directory(package),
                Path(directory) / package,
                ignore=shutil.ignore_patterns("node_modules", ".forge", ".tools", "spec"),
            )
        yield Path(directory)


@dataclass(frozen=True)
class Outcome:
    """How the tests went: their ids by outcome, and what they cost."""

    passed: frozenset[str]
    failed: frozenset[str]
    broken: str | None
    cpu_seconds: float


def cpu_seconds_of_children() -> float:
    """Return the CPU time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(scratch: Path, arguments: Sequence[str]) -> tuple[int, str, float]:
    """Run Python with the copied packages first; return its exit code, output and CPU seconds."""
    # The packages beside the tests if there are any, else the installed ones.
    beside = str(ROOT) if (ROOT / "consensus" / "__init__.py").exists() else None
    path = [str(scratch), beside, os.environ.get("PYTHONPATH")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(scratch / "hypothesis"),
    }
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    # A mistake may make a test run for ever.
    limit = ["prlimit", f"--cpu={CPU_SECONDS_MAX + 5}"] if shutil.which("prlimit") else []
    before = cpu_seconds_of_children()
    done = subprocess.run(
        # -P: the checkout itself must not come before the copy.
        [*limit, sys.executable, "-P", *arguments],
        cwd=scratch,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WALL_SECONDS_MAX,
    )
    return done.returncode, done.stdout, cpu_seconds_of_children() - before


def run_tests(scratch: Path, ids: Sequence[str]) -> Outcome:
    """Run tests on the copied packages."""
    report = scratch / "report.xml"
    options = ["-q", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    options += ["-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short"]
    options += ["--hypothesis-seed=1", "-o", "junit_family=xunit1", f"--junit-xml={report}"]
    code, output, cpu_seconds = execute(
        scratch, ["-m", "pytest", *options, *(str(ROOT / one) for one in ids)]
    )
    passed: set[str] = set()
    failed: set[str] = set()
    broken = None if code in (0, 1) else f"pytest ended with {code}:\n{output[-3000:]}"
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        name = f"{case.get('file')}::{case.get('name', '').partition('[')[0]}"
        if case.find("error") is not None or case.find("skipped") is not None:
            broken = f"{name} could not be run:\n{output[-3000:]}"
        elif case.find("failure") is not None:
            failed.add(name)
        else:
            passed.add(name)
    return Outcome(frozenset(passed - failed), frozenset(failed), broken, cpu_seconds)


def run_scenarios(scratch: Path, kind: str, members: int, count: int) -> tuple[str | None, float]:
    """Run random scenarios; return what the first failure says, and the CPU seconds."""
    code, output, cpu_seconds = execute(
        scratch, [str(HERE / "scenarios.py"), kind, str(members), str(count)]
    )
    if code not in (0, 1):
        raise SystemExit(f"the scenarios ended with {code}:\n{output[-3000:]}")
    return (output.strip().splitlines()[-1] if code else None), cpu_seconds


@dataclass(frozen=True)
class Verdict:
    """Whether a mistake was caught by all that must catch it; `scenario` is the first to fail."""

    caught: bool
    tests: int
    scenario: str | None
    cpu_seconds: float


def try_mutant(mutant: Mutant, say: Callable[[str], None] = print) -> Verdict:
    """Plant a mistake and tell whether all that must catch it does, in time."""
    say(f"{mutant.name}: {mutant.mistake}")
    failure = None
    packages = sorted({change.package for change in mutant.changes})
    with copy_of(packages) as scratch:
        for change in mutant.changes:
            path = scratch / change.file
            path.write_text(planted(change, path.read_text()))
        outcome = run_tests(scratch, mutant.caught_by)
        if outcome.broken is not None:
            say(outcome.broken)
        for one in mutant.caught_by:
            say(f"  {'caught' if one in outcome.failed else 'NOT CAUGHT'}  {one}")
        cpu_seconds = outcome.cpu_seconds
        good = outcome.broken is None and outcome.failed >= set(mutant.caught_by)
        if mutant.runs is not None:
            kind, members, count = mutant.runs
            failure, spent = run_scenarios(scratch, kind, members, count)
            cpu_seconds += spent
            good = good and failure is not None
            say(f"  {'caught' if failure else 'NOT CAUGHT'}  {kind} of {members}: {failure}")
    say(f"  {cpu_seconds:.1f} s of CPU")
    return Verdict(
        good and cpu_seconds <= CPU_SECONDS_MAX, len(outcome.failed), failure, cpu_seconds
    )


def print_table(mutants: Sequence[Mutant]) -> list[str]:
    """Plant one mistake after the other, print a line for each; return what was missed."""
    missed = []
    print(f"{'mutant':<38} {'caught':<7} {'CPU s':>6}  by")
    for mutant in mutants:
        verdict = try_mutant(mutant, lambda _: None)
        if not verdict.caught:
            missed.append(mutant.name)
        by = [one.partition("::")[2] for one in mutant.caught_by]
        if mutant.runs is not None:
            by.insert(0, str(verdict.scenario))
        caught = "yes" if verdict.caught else "NO"
        print(f"{mutant.name:<38} {caught:<7} {verdict.cpu_seconds:>6.1f}  {by[0]}", flush=True)
        for another in by[1:]:
            print(f"{'':<55} {another}")
    print(f"{len(mutants)} mutants of {len({one.mistake for one in mutants})} mistakes")
    return missed


def try_unmodified(mutants: Sequence[Mutant]) -> bool:
    """Tell whether the code as it is passes all that catches the mistakes."""
    ids = sorted({one for mutant in mutants for one in mutant.caught_by})
    good = True
    with copy_of(sorted({change.package for mutant in mutants for change in mutant.changes})) as s:
        outcome = run_tests(s, ids)
        if outcome.broken is not None or outcome.passed != set(ids):
            good = False
            print(outcome.broken or f"failed: {sorted(set(ids) - outcome.passed)}")
        cpu_seconds = outcome.cpu_seconds
        counts: dict[tuple[str, int], int] = {}
        for kind, members, count in (one.runs for one in mutants if one.runs is not None):
            counts[kind, members] = max(count, counts.get((kind, members), 0))
        for (kind, members), count in counts.items():
            failure, spent = run_scenarios(s, kind, members, count)
            cpu_seconds += spent
            if failure is not None:
                good = False
                print(f"{kind} of {members}: {failure}")
    print(f"the code as it is: {len(ids)} tests, {counts} scenarios, {cpu_seconds:.1f} s of CPU")
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant what is asked for; 0 if everything was caught, 1 if not, 3 if a text is not there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mistake; without one, a list")
    parser.add_argument("--all", action="store_true", help="plant one after the other")
    parser.add_argument("--table", action="store_true", help="the same, a line for each")
    parser.add_argument("--check", action="store_true", help="only look whether each applies")
    parser.add_argument("--unmodified", action="store_true", help="run their tests on sound code")
    given = parser.parse_args(arguments)
    try:
        every = given.all or given.table or given.check or given.unmodified
        mutants = [load(name) for name in given.names or (names() if every else ())]
        for mutant in mutants:
            check(mutant)
    except FileNotFoundError as error:
        parser.error(f"there is no {error.filename}")
    except DoesNotApply as error:
        print(f"{mutant.name} does not apply: {error}", file=sys.stderr)
        return 3
    if given.unmodified:
        return 0 if try_unmodified(mutants) else 1
    if given.check or not mutants:
        for name in names():
            print(f"{name:<36} {load(name).mistake}")
        return 0
    if given.table:
        missed = print_table(mutants)
    else:
        missed = [mutant.name for mutant in mutants if not try_mutant(mutant).caught]
    if missed:
        print(f"not caught in time: {missed}")
    return 1 if missed else 0


def until_nobody_reads(run: Callable[[], int]) -> int:
    """Return what a program returns, or 1 once whoever reads its output has left."""
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Without this Python complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
