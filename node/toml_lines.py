"""On which line each key of a TOML document stands, so that an error can name it.

`tomllib` gives no positions. The document has been parsed by `tomllib` before it comes here, so
this only walks over syntax that is known to be right.
"""

from bisect import bisect_right
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]
"""Table names, keys and, in arrays, indices: `("p2p", "peers", 0, "address")`."""


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Return the line (from 1) of every table, key and array element of a valid document."""
    walker = _Walker(text)
    walker.document()
    return walker.lines


class _Walker:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._newlines = [i for i, char in enumerate(self._text) if char == "\n"]
        self._array_tables: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._skip_to_content():
            start = self._at
            if self._take("[["):
                table = self._array_table(self._key())
                self._take("]]")
            elif self._take("["):
                table = self._resolve(self._key())
                self._take("]")
            else:
                self._pair(table)
                continue
            self._record(table, start)

    def _record(self, path: KeyPath, position: int) -> None:
        line = bisect_right(self._newlines, position - 1) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _resolve(self, key: tuple[str, ...]) -> KeyPath:
        path: KeyPath = ()
        for part in key:
            path = (*path, part)
            if path in self._array_tables:
                path = (*path, self._array_tables[path])
        return path

    def _array_table(self, key: tuple[str, ...]) -> KeyPath:
        path = (*self._resolve(key[:-1]), key[-1])
        self._array_tables[path] = self._array_tables.get(path, -1) + 1
        return (*path, self._array_tables[path])

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = (*table, *self._key())
        self._record(path, start)
        self._take("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_blanks()
        if self._take("["):
            index = 0
            while self._skip_to_content(also=",") and not self._take("]"):
                self._record((*path, index), self._at)
                self._value((*path, index))
                index += 1
        elif self._take("{"):
            while self._skip_to_content(also=",") and not self._take("}"):
                self._pair(path)
        elif self._peek() in ('"', "'"):
            self._string()
        else:
            self._bare(",]}#\n")

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip_blanks()
            parts.append(self._string() if self._peek() in ('"', "'") else self._bare(" \t.=]"))
            self._skip_blanks()
            if not self._take("."):
                return tuple(parts)

    def _string(self) -> str:
        quote = self._peek()
        delimiter = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        start = self._at = self._at + len(delimiter)
        while not self._text.startswith(delimiter, self._at):
            if self._at >= len(self._text):
                return self._text[start:]
            self._at += 2 if quote == '"' and self._peek() == "\\" else 1
        end = self._at
        self._at += len(delimiter)
        while len(delimiter) == 3 and self._peek() == quote:  # up to two quotes may precede the end
            self._at += 1
        return self._text[start:end]

    def _bare(self, stops: str) -> str:
        start = self._at
        while self._at < len(self._text) and self._peek() not in stops:
            self._at += 1
        return self._text[start : self._at].strip()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, token: str) -> bool:
        found = self._text.startswith(token, self._at)
        if found:
            self._at += len(token)
        return found

    def _skip_blanks(self) -> None:
        while self._peek() in (" ", "\t"):
            self._at += 1

    def _skip_to_content(self, also: str = "") -> bool:
        """Pass over blanks, ends of lines and comments; tell whether anything follows."""
        while self._at < len(self._text):
            if self._peek() == "#":
                while self._at < len(self._text) and self._peek() != "\n":
                    self._at += 1
            elif self._peek() in " \t\n" + also:
                self._at += 1
            else:
                return True
        return False
