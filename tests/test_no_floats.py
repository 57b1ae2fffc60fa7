"""The pure packages compute with integers only: every member must get the same bits."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import aggregation
import consensus

PACKAGES = [Path(str(package.__file__)).parent for package in (aggregation, consensus)]

FORBIDDEN_NAMES = {"float", "complex", "truediv", "itruediv", "Decimal", "Fraction"}
FORBIDDEN_MODULES = {"cmath", "decimal", "fractions", "numbers", "numpy", "statistics"}
INTEGER_MATH = {"isqrt", "gcd", "lcm", "comb", "perm", "factorial"}


def float_uses(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what) wherever a source text could make a number that is no integer."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=float() | complex()):
                yield line, f"the literal {node.value!r}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield line, "the operator /"
            case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub(), operand=ast.Constant())):
                yield line, "a negative power"
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in FORBIDDEN_NAMES:
                yield line, name
            case ast.ImportFrom(module="math"):
                for imported in node.names:
                    if imported.name not in INTEGER_MATH:
                        yield line, f"math.{imported.name}"
            case ast.Import():
                for imported in node.names:
                    if imported.name.split(".")[0] in {*FORBIDDEN_MODULES, "math"}:
                        yield line, f"import {imported.name}"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_MODULES:
                yield line, f"import {module}"
            case _:
                pass


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in package.rglob("*.py"))


def test_the_rule_looks_at_both_packages() -> None:
    names = {path.parent.name for path in sources()}
    assert {"aggregation", "consensus"} <= names


@pytest.mark.parametrize("path", sources(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_pure_packages_have_no_float_and_no_true_division(path: Path) -> None:
    found = [f"{path}:{line}: {what}" for line, what in float_uses(path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "x = 1.0",
        "x = 1e3",
        "x = 2j",
        "x = a / b",
        "x /= 2",
        "x = 10 ** -1",
        "x = float(a)",
        "def f(x: float) -> None: ...",
        "import math",
        "from math import sqrt",
        "from decimal import Decimal",
        "import operator; operator.truediv(1, 2)",
        "from statistics import median",
    ],
)
def test_the_rule_sees_every_way_to_a_float(source: str) -> None:
    assert list(float_uses(source))


@pytest.mark.parametrize("source", ["x = a // b", "from math import isqrt", 's = "1.0 / 2"'])
def test_the_rule_lets_integers_pass(source: str) -> None:
    assert not list(float_uses(source))
