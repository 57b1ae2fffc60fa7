"""Every promise of the consensus is tested under its own name, as consensus/README.md says."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROMISES = ("S1", "S2", "S3", "S4", "S5", "A1", "L1")


def named_for(promise: str) -> list[str]:
    """Return the tests that the table names for a promise."""
    table = (ROOT / "consensus" / "README.md").read_text()
    rows = [row for row in table.splitlines() if row.startswith(f"| {promise} |")]
    assert len(rows) == 1, f"{promise} has {len(rows)} rows"
    return re.findall(r"`(test_\w+)`", rows[0].split("|")[4])


@cache
def defined() -> set[str]:
    """Return the names of all test functions."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.checkout
@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_has_tests_of_its_name(promise: str) -> None:
    named = named_for(promise)
    assert named
    assert all(name.startswith(f"test_{promise.lower()}_") for name in named)
    assert set(named) <= defined()
