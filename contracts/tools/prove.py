"""Proves what stands in `contracts/test/proofs` with halmos and z3.

`python contracts/tools/prove.py [PATTERN]` proves all, or those whose names match. Only a proof
counts: a counterexample, an unknown, a timeout, an error of the tool and a loop that was cut off
fail. That each proof can fail is shown by `mutants.py`: planted mistakes must be refuted.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parents[1]
SECONDS_MAX = 600

# What halmos calls its outcomes (halmos.constants, Exitcode).
OUTCOMES = {0: "proved", 1: "counterexample", 2: "timeout", 3: "stuck", 4: "reverts on all paths"}


def declared(folder: Path) -> list[str]:
    """Return the names of all proofs."""
    texts = (path.read_text() for path in sorted((folder / "test" / "proofs").glob("*.sol")))
    return [name for text in texts for name in re.findall(r"function (check_\w+)", text)]


def results(folder: Path, pattern: str = "", seconds: float = SECONDS_MAX) -> dict[str, str]:
    """Run the proofs whose names match in a copy of the contracts; return their outcomes.

    All of them together have so many seconds.
    """
    wanted = [name for name in declared(folder) if re.search(pattern, name)]
    if not wanted:
        return {pattern: "no such proof"}
    forge = CONTRACTS / "node_modules" / ".bin"
    environment = {
        **os.environ,
        "FOUNDRY_PROFILE": "proofs",
        "PATH": f"{forge}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    with tempfile.TemporaryDirectory(prefix="didyma-proofs-") as directory:
        report = Path(directory) / "report.json"
        command = [
            *(str(CONTRACTS / ".tools" / "bin" / "halmos"), "--root", str(folder)),
            *("--forge-build-out", ".forge/proofs", "--no-status", "--json-output", str(report)),
            *("--solver", "z3", "--solver-timeout-assertion", "600000", "--loop", "300"),
            *("--storage-layout", "generic", "--function", "check_"),
            "--early-exit",
            *("--match-test", f"^({'|'.join(wanted)})\\("),
        ]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Its solvers are its children; they end with it.
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return dict.fromkeys(wanted, "timeout")
        if not report.exists():
            return dict.fromkeys(wanted, f"halmos gave no results:\n{said[-2000:]}")
        document = json.loads(report.read_text())
    outcomes = dict.fromkeys(wanted, "did not run")
    for suite in document["test_results"].values():
        for test in suite:
            name = test["name"].partition("(")[0]
            outcome = OUTCOMES.get(test["exitcode"], f"error {test['exitcode']}")
            if outcome == "proved" and test["num_bounded_loops"]:
                outcome = "cut off in a loop"
            outcomes[name] = outcome
    return outcomes


def main(pattern: str = "") -> int:
    """Print the outcomes; return 1 unless everything was proved."""
    wanted = [name for name in declared(CONTRACTS) if re.search(pattern, name)]
    outcomes = set()
    for name in wanted:
        began = time.monotonic()
        outcome = results(CONTRACTS, f"^{name}$")[name]
        print(f"{name:<56} {time.monotonic() - began:5.0f} s  {outcome}", flush=True)
        outcomes.add(outcome)
    return 0 if outcomes == {"proved"} else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
