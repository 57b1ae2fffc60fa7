"""Plants known mistakes in a copy of the contracts and runs the tests that must catch them.

`python contracts/tools/mutants.py` plants all and prints a table, `mutants.py NAME…` some of them,
`mutants.py --quick` the few that are marked so. A mistake is a file in `contracts/test/mutants`:
the texts to replace, and which of forge's tests (`caught_by`, a pattern of their names), which
proofs (`refuted_by`, likewise) and which of the Python tests (`pytest`, their ids) see it. A text
that does not occur exactly once, a mutant that does not compile and a tool that breaks down are
errors, never catches. Nothing outside a temporary directory is changed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from contracts.tools import prove

CONTRACTS = Path(__file__).resolve().parents[1]
MUTANTS = CONTRACTS / "test" / "mutants"
SECONDS_MAX = 900


class Broken(Exception):
    """The tools did not get as far as a verdict."""


@dataclass(frozen=True)
class Change:
    """One text of one file, and what takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A mistake that can be planted."""

    name: str
    mistake: str
    quick: bool
    changes: tuple[Change, ...]
    caught_by: str
    refuted_by: str
    pytest: tuple[str, ...]


def load(path: Path) -> Mutant:
    """Read a mutant's file; raise `Broken` if it is not one."""
    document = tomllib.loads(path.read_text())
    changes = tuple(Change(**change) for change in document.pop("change"))
    caught_by, refuted_by = document.pop("caught_by", ""), document.pop("refuted_by", "")
    tests = tuple(document.pop("pytest", ()))
    mistake, quick = document.pop("mistake"), document.pop("quick", False)
    if document or not changes or not (caught_by or refuted_by or tests):
        raise Broken(f"{path.name} is not a mutant: {sorted(document)}")
    return Mutant(path.stem, mistake, quick, changes, caught_by, refuted_by, tests)


def plant(mutant: Mutant, scratch: Path) -> None:
    """Apply a mutant to a copy of the contracts."""
    for change in mutant.changes:
        path = scratch / change.file
        text = path.read_text()
        found = text.count(change.old)
        if found != 1 or change.old == change.new:
            raise Broken(f"{mutant.name}: {change.file} has this {found} times:\n{change.old}")
        path.write_text(text.replace(change.old, change.new))


def copy_contracts(scratch: Path) -> Path:
    """Copy the contracts with what is compiled of them, so that only what changes is compiled."""
    copy = scratch / "contracts"
    skipped = shutil.ignore_patterns("node_modules", ".tools", "failures", "mutants", "artifacts")
    shutil.copytree(CONTRACTS, copy, ignore=skipped)
    (copy / "node_modules").symlink_to(CONTRACTS / "node_modules")
    for folder in ("vectors", "contracts"):
        shutil.copytree(CONTRACTS.parent / "tests" / folder, scratch / "tests" / folder)
    shutil.copy(CONTRACTS.parent / "tests" / "conftest.py", scratch / "tests")
    shutil.copy(CONTRACTS.parent / "pyproject.toml", scratch)
    return copy


def failures_of_forge(copy: Path, pattern: str) -> tuple[int, list[str]]:
    """Run forge's tests of these names; return how many ran and which failed."""
    command = ["node_modules/.bin/forge", "test", "--json", "--fail-fast", "--match-test", pattern]
    done = subprocess.run(
        command,
        cwd=copy,
        # The fewest calls that show a mistake, and warnings of its code, are of no interest.
        env={**os.environ, "FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT": "0", "FOUNDRY_DENY": "never"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    try:
        suites = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise Broken(
            f"forge gave no results:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        ) from None
    ran, failed = 0, []
    for suite in suites.values():
        for name, result in suite["test_results"].items():
            ran += 1
            if result["status"] == "Failure":
                failed.append(name.partition("(")[0])
    if ran == 0:
        raise Broken(f"no test is called {pattern}")
    return ran, failed


def failures_of_pytest(copy: Path, test: str) -> bool:
    """Build the artifacts and run a Python test on them; return whether it failed."""
    build = subprocess.run(
        ["node", "build.mjs"], cwd=copy, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    if build.returncode != 0:
        raise Broken(f"the mutant does not compile:\n{build.stderr[-2000:]}")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test],
        cwd=copy.parent,
        env={**os.environ, "PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    # 0: all passed, 1: some failed; anything else is no verdict.
    if done.returncode not in (0, 1):
        raise Broken(f"pytest gave no results:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def verdict(mutant: Mutant, proofs: bool = True, tests: bool = True) -> tuple[bool, str]:
    """Plant a mutant; return whether everything that must see it does, and what did."""
    with tempfile.TemporaryDirectory(prefix="didyma-contracts-") as directory:
        copy = copy_contracts(Path(directory))
        plant(mutant, copy)
        seen: list[str] = []
        missed: list[str] = []
        if mutant.caught_by and tests:
            _, failed = failures_of_forge(copy, mutant.caught_by)
            (seen if failed else missed).extend(failed or [mutant.caught_by])
        for test in mutant.pytest if tests else ():
            (seen if failures_of_pytest(copy, test) else missed).append(test.rpartition("::")[2])
        if mutant.refuted_by and proofs:
            for name, outcome in prove.results(copy, mutant.refuted_by).items():
                (seen if outcome == "counterexample" else missed).append(f"{name}: {outcome}")
    return not missed, ", ".join(seen) if not missed else "MISSED: " + ", ".join(missed)


def main(arguments: Sequence[str]) -> int:
    """Print which mutants are caught; return 1 if one is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="mutants, all if none is named")
    parser.add_argument("--quick", action="store_true", help="only those that are marked quick")
    parser.add_argument("--no-proofs", action="store_true", help="leave out what halmos must see")
    parser.add_argument("--no-tests", action="store_true", help="leave out what tests must see")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (1)")
    options = parser.parse_args(arguments)
    mutants = [load(path) for path in sorted(MUTANTS.glob("*.toml"))]
    unknown = set(options.names) - {mutant.name for mutant in mutants}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [
        mutant
        for mutant in mutants
        if (not options.names or mutant.name in options.names)
        and (not options.quick or mutant.quick)
        and (not options.no_proofs or mutant.caught_by or mutant.pytest)
        and (not options.no_tests or mutant.refuted_by)
    ]
    # Once for all: of each mutant only what it changes is compiled.
    subprocess.run(["node_modules/.bin/forge", "build", "--quiet"], cwd=CONTRACTS, check=True)

    def judge(mutant: Mutant) -> bool:
        began = time.monotonic()
        try:
            caught, by = verdict(mutant, not options.no_proofs, not options.no_tests)
        except (Broken, subprocess.TimeoutExpired) as trouble:
            caught, by = False, f"BROKEN: {trouble}"
        seconds = time.monotonic() - began
        print(f"{mutant.name:<44} {mutant.mistake:<48} {seconds:4.0f} s  {by}", flush=True)
        return caught

    # Each is judged by processes of its own; the threads only wait for them.
    with ThreadPoolExecutor(options.jobs) as pool:
        missed = sum(not caught for caught in pool.map(judge, chosen))
    print(f"{len(chosen) - missed} of {len(chosen)} planted mistakes were caught")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
