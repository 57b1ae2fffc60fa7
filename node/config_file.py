"""Reads `node.toml` with its `DIDYMA_*` overrides, and says everything that is wrong at once."""

import difflib
import itertools
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from node.config import Config
from node.errors import ConfigFileError, Problem
from node.toml_lines import KeyPath, key_lines

CONFIG_BYTES_MAX = 1 << 20
OVERRIDE_PREFIX = "DIDYMA_"
PATH_FIELDS = (
    ("node", "data_dir"),
    ("node", "network_file"),
    ("node", "epoch_file"),
    ("keys", "identity"),
    ("keys", "identity_password_file"),
    ("keys", "bls"),
    ("keys", "bls_password_file"),
    ("keys", "account"),
    ("keys", "account_password_file"),
)
"""Relative ones are taken from the directory of the configuration file."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that is in force, and where it comes from."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A checked configuration and the origin of each of its values."""

    path: Path
    config: Config
    settings: tuple[Setting, ...]


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration in force; raise `ConfigFileError` with every problem found."""
    return read_config(path, environ).config


def read_config(path: Path, environ: Mapping[str, str] = os.environ) -> ConfigFile:
    """Return the configuration with origins; raise `ConfigFileError` with every problem found."""
    path = path.absolute()
    text = _text_of(path)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(path, error) from None
    sources = _Sources(path, key_lines(text), environ)
    sources.apply_overrides(document)
    _anchor_paths(document, path.parent)
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        problems = [*sources.problems, *map(sources.problem_of, _innermost(error))]
        raise _refused(path, problems) from None
    if sources.problems:
        raise _refused(path, sources.problems)
    settings = tuple(
        Setting(dotted(at), value, sources.origin(at)) for at, value in _leaves(config, ())
    )
    return ConfigFile(path, config, settings)


def dotted(at: KeyPath) -> str:
    """Return a key as people write it: `p2p.peers[0].address`."""
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
        if len(content) > CONFIG_BYTES_MAX:
            raise ConfigFileError(f"{path} is longer than {CONFIG_BYTES_MAX} bytes")
        return content.decode().replace("\r\n", "\n")
    except FileNotFoundError:
        raise ConfigFileError(
            f"{path} does not exist; `didyma init DIR` writes one, or name yours with --config"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigFileError(
            f"{path} is not UTF-8 (byte {error.start}); save it as such"
        ) from None
    except OSError as error:
        raise ConfigFileError(f"{path} cannot be read: {error.strerror}") from None


def _syntax_error(path: Path, error: Exception) -> ConfigFileError:
    # tomllib repeats at most one character of the file, never a value.
    found = re.search(r"line (\d+)", str(error))
    where = f"{path}:{found[1]}" if found else str(path)
    message, remedy = str(error), "mend the TOML syntax; texts stand in double quotes"
    if isinstance(error, RecursionError):
        message = "nests lists or tables too deeply to be read"
        remedy = "look for brackets that are never closed; no setting needs more than three levels"
    problem = Problem(where, message, remedy=remedy)
    return _refused(path, [problem])


def _refused(path: Path, problems: list[Problem]) -> ConfigFileError:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ConfigFileError(f"{path}: {count}", tuple(problems))


def _anchor_paths(document: dict[str, Any], directory: Path) -> None:
    for section, key in PATH_FIELDS:
        table = document.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(directory / Path(table[key]).expanduser())


def _innermost(error: ValidationError) -> list[ErrorDetails]:
    """Return the errors without those that only follow from one further inside."""
    errors = error.errors(include_url=False)
    places = [found["loc"] for found in errors]
    return [
        found
        for found in errors
        if found["type"] in ("extra_forbidden", "missing", "value_error")
        or not any(found["loc"] == at[: len(found["loc"])] != at for at in places)
    ]


def _leaves(value: object, at: KeyPath) -> list[tuple[KeyPath, object]]:
    if isinstance(value, BaseModel):
        names = type(value).model_fields
        return [leaf for name in names for leaf in _leaves(getattr(value, name), (*at, name))]
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*at, key))]
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(item, (*at, i))]
    return [(at, value)]


class _Sources:
    """Where each value of one document comes from, and what is wrong with it."""

    def __init__(
        self, path: Path, lines: Mapping[KeyPath, int], environ: Mapping[str, str]
    ) -> None:
        self.problems: list[Problem] = []
        self._path = path
        self._lines = lines
        self._environ = environ
        self._overridden: dict[KeyPath, str] = {}

    def apply_overrides(self, document: dict[str, Any]) -> None:
        """Put the environment's values into the document.

        A variable is meant for us when it has the prefix and then a section (`DIDYMA_CHAINS`), or
        a double underscore between section and key; whether the key exists is for the model to say.
        """
        for variable in sorted(self._environ):
            name = variable.removeprefix(OVERRIDE_PREFIX)
            if name == variable or ("__" not in name and name.lower() not in Config.model_fields):
                continue
            parts = [part.lower() for part in name.split("__")]
            at: KeyPath = tuple(int(part) if part.isdecimal() else part for part in parts)
            value = self._value(variable)
            if not _put(document, at, value):
                self.problems.append(
                    Problem(
                        f"environment variable {variable}",
                        "names no place in the configuration",
                        dotted(at),
                        f"unset {variable}, or correct its name",
                    )
                )
                continue
            self._overridden[at] = variable

    def _value(self, variable: str) -> object:
        text = self._environ[variable]
        if text[:1] in ("[", "{"):
            try:
                return tomllib.loads(f"value = {text}")["value"]
            except (ValueError, RecursionError):
                return text
        return text

    def origin(self, at: KeyPath) -> str:
        """Return where a value comes from: a line, a variable, or the default."""
        for length in range(len(at), 0, -1):
            if at[:length] in self._overridden:
                return f"environment variable {self._overridden[at[:length]]}"
        return f"{self._path}:{self._lines[at]}" if at in self._lines else "default"

    def problem_of(self, error: ErrorDetails) -> Problem:
        """Return what to tell the operator about one of pydantic's errors."""
        at: KeyPath = tuple(error["loc"])
        message, remedy = _explanation(error["type"], error["msg"], at)
        return Problem(self._place(at), message, dotted(at), remedy)

    def _place(self, at: KeyPath) -> str:
        for length in range(len(at), 0, -1):
            if at[:length] in self._overridden:
                return f"environment variable {self._overridden[at[:length]]}"
            if at[:length] in self._lines:
                return f"{self._path}:{self._lines[at[:length]]}"
        for overridden, variable in self._overridden.items():
            if at and overridden[: len(at)] == at:
                return f"environment variable {variable}"
        return str(self._path)


def _put(document: dict[str, Any], at: KeyPath, value: object) -> bool:
    table: Any = document
    for part, following in itertools.pairwise(at):
        if isinstance(table, dict) and isinstance(part, str) and part:
            table = table.setdefault(part, [] if isinstance(following, int) else {})
        elif isinstance(table, list) and isinstance(part, int) and part <= len(table):
            if part == len(table):
                table.append({})
            table = table[part]
        else:
            return False
    last = at[-1]
    if isinstance(table, dict) and isinstance(last, str) and last:
        table[last] = value
    elif isinstance(table, list) and isinstance(last, int) and last <= len(table):
        table[last : last + 1] = [value]
    else:
        return False
    return True


def _explanation(kind: str, message: str, at: KeyPath) -> tuple[str, str]:
    if kind == "extra_forbidden":
        known = _known_keys(at[:-1])
        near = difflib.get_close_matches(str(at[-1]), known, n=1)
        advice = (
            f"did you mean {near[0]!r}?" if near else "remove it; known here: " + ", ".join(known)
        )
        return "is not a known setting", advice
    if kind == "missing":
        table = dotted(at[:-1])
        where = f" under [{table}]" if table else ""
        return "is missing", f"add {at[-1]!r}{where}; `didyma init` writes a commented example"
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
        return message, ""
    if kind in ("model_type", "dict_type"):
        return f"must be a table: [{dotted(at)}]", ""
    return message[:1].lower() + message[1:], ""


def _known_keys(at: KeyPath) -> list[str]:
    """Return the keys that the table at this place may hold."""
    model: Any = Config
    for part in at:
        if isinstance(part, int):
            continue
        field = getattr(model, "model_fields", {}).get(part)
        model = _model_in(field.annotation) if field else model
    return sorted(getattr(model, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)
