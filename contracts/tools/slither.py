"""Runs slither on what is shipped; fails for every finding that is not answered.

`python contracts/tools/slither.py`. The answers stand in `slither.toml` beside this file: what
slither calls the finding, where it is, and why it is none. An answer to nothing fails too, so that
none outlives what it was given for.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parents[1]
SECONDS_MAX = 600


def subject(description: str) -> str:
    """Return what a finding is about: what comes before its first line number, for lines move."""
    lines = (line.strip() for line in description.splitlines())
    # A bare title names nothing; what follows does.
    named = next((line for line in lines if not line.endswith("found:")), description)
    return re.split(r" \(src/|:$", named)[0]


def findings() -> set[tuple[str, str]]:
    """Return slither's findings: its detector's name, and where it found something."""
    forge = CONTRACTS / "node_modules" / ".bin"
    path = f"{forge}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory(prefix="didyma-slither-") as directory:
        report = Path(directory) / "report.json"
        done = subprocess.run(
            [
                *(str(CONTRACTS / ".tools" / "bin" / "slither"), ".", "--fail-none"),
                *("--compile-force-framework", "foundry"),
                *("--foundry-out-directory", ".forge/slither", "--json", str(report)),
            ],
            cwd=CONTRACTS,
            env={**os.environ, "FOUNDRY_PROFILE": "slither", "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS_MAX,
        )
        document = json.loads(report.read_text()) if report.exists() else {}
    if not document.get("success"):
        raise SystemExit(f"slither gave no results:\n{done.stdout[-3000:]}")
    return {
        (found["check"], subject(found["description"]))
        for found in document["results"].get("detectors", [])
    }


def main() -> int:
    """Print what is not answered and which answers answer nothing; return 1 if there is any."""
    answers = tomllib.loads((CONTRACTS / "tools" / "slither.toml").read_text())["answer"]
    answered = {(answer["check"], where) for answer in answers for where in answer["where"]}
    everywhere = {answer["check"] for answer in answers if answer["where"] == ["*"]}
    found = {one for one in findings() if one[0] not in everywhere}
    answered = {one for one in answered if one[0] not in everywhere}
    for check, where in sorted(found - answered):
        print(f"not answered: {check} at {where}")
    for check, where in sorted(answered - found):
        print(f"no such finding: {check} at {where}")
    print(f"slither: {len(found & answered)} findings, each answered; {len(found - answered)} not")
    return 1 if found != answered else 0


if __name__ == "__main__":
    sys.exit(main())
