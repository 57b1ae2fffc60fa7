import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.toml_lines import KeyPath, key_lines

DOCUMENT = '''\
# a comment = 1
top = 1
"quoted key" = "a # b"

[a]           # trailing
x = """
y = 1
[not.a.table]
"""  # still x
z = [1, [2,
  3], {k = 'v', l.m = 4}]
dotted.key = true

[[b.list]]
name = "one"
[[b.list]]
name = \'\'\'
two\'\'\'\'\'
[b.list.inner]
w = "\\\\"
last = 2020-01-01T00:00:00Z
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("a",), 5),
        (("a", "x"), 6),
        (("a", "z"), 10),
        (("a", "z", 0), 10),
        (("a", "z", 1, 1), 11),
        (("a", "z", 2, "k"), 11),
        (("a", "z", 2, "l", "m"), 11),
        (("a", "dotted", "key"), 12),
        (("b", "list", 0, "name"), 15),
        (("b", "list", 1), 16),
        (("b", "list", 1, "name"), 17),
        (("b", "list", 1, "inner", "w"), 20),
        (("b", "list", 1, "inner", "last"), 21),
    ],
)
def test_each_key_is_found_on_its_line(path: KeyPath, line: int) -> None:
    tomllib.loads(DOCUMENT)
    assert key_lines(DOCUMENT)[path] == line


def test_no_key_is_found_inside_a_text_or_a_comment() -> None:
    lines = key_lines(DOCUMENT)
    assert ("not",) not in lines
    assert ("a", "y") not in lines
    assert len(lines) == 24


values = st.sampled_from(
    ["1", '"x"', "'#'", '"""\n\n"""', "[1,\n 2]", "{a = 1, b = [\n]}", '"\\""', "'''\n'''", "[]"]
)


@given(st.lists(st.tuples(st.integers(0, 2), values), max_size=12))
def test_whatever_stands_between_keys_does_not_move_them(entries: list[tuple[int, str]]) -> None:
    text, expected = "", {}
    for index, (blank_lines, value) in enumerate(entries):
        text += "# note\n" * blank_lines
        expected[(f"k{index}",)] = text.count("\n") + 1
        text += f"k{index} = {value}\n"
    assert list(tomllib.loads(text)) == [name for (name,) in expected]
    assert {path: line for path, line in key_lines(text).items() if len(path) == 1} == expected
