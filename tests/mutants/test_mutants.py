"""Each mistake of plant.py, planted, makes the tests fail that are there to catch it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
QUICK = frozenset(
    {
        "vote-after-timeout",
        "commit-with-a-gap",
        "domain-without-epoch",
    }
)


def plant(*arguments: str) -> str:
    """Run the command and return what it says; it ends with 0 only if all was caught."""
    command = [sys.executable, str(HERE / "plant.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def parameter(name: str) -> object:
    return pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("name", [parameter(path.stem) for path in sorted(HERE.glob("*.toml"))])
def test_the_suite_catches(name: str) -> None:
    print(plant(name))


@pytest.mark.slow
def test_the_code_as_it_is_passes_what_catches_the_mistakes() -> None:
    print(plant("--unmodified"))


def test_every_mutant_applies_and_every_mistake_has_one() -> None:
    listed = plant("--check").splitlines()
    assert len(listed) == len(list(HERE.glob("*.toml")))
    assert not QUICK - {line.split(maxsplit=1)[0] for line in listed}
    source = (HERE / "plant.py").read_text()
    mistakes = source.partition("MISTAKES = (\n")[2].partition("\n)\n")[0]
    named = {line.split(maxsplit=1)[1] for line in listed}
    assert {line.strip(' ",') for line in mistakes.splitlines()} == named


def test_a_mutant_that_no_longer_fits_the_code_is_an_error(tmp_path: Path) -> None:
    for file in ("plant.py", "scenarios.py"):
        (tmp_path / file).write_bytes((HERE / file).read_bytes())
    for old in ("return not safety.closed", "a text that is not there"):
        (tmp_path / "stale.toml").write_text(
            'mistake = "voting after a timeout"\ncaught_by = ["tests/none.py::test_none"]\n'
            f'[[change]]\nfile = "consensus/rules.py"\nold = "{old}"\nnew = ""\n'
        )
        done = subprocess.run(
            [sys.executable, str(tmp_path / "plant.py"), "stale"], capture_output=True, text=True
        )
        assert done.returncode == 3
        assert "times, not once" in done.stderr


def test_a_reader_that_leaves_early_causes_no_complaint() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, str(HERE / "plant.py")]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")
