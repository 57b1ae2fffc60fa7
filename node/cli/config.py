"""Check or show the configuration in force."""

import time
from pathlib import Path

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option


@click.group()
def config() -> None:
    """Check or show the configuration in force: the file with its DIDYMA_* overrides."""


@config.command()
@config_option
@json_option
def check(config_file: Path) -> None:
    """Check the configuration and the files that it names; say everything that is wrong at once."""
    from node.config_check import check_files, ends_of
    from node.config_file import read_config
    from node.errors import ConfigFileError

    read = read_config(config_file)
    problems = check_files(read.config)
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigFileError(
            f"{read.path} is well-formed; the files it names have {count}", tuple(problems)
        )
    warnings = ends_of(read.config, time.time_ns() // 1_000_000)
    emit(
        {"config": str(read.path), "ok": True, "warnings": warnings},
        "\n".join([f"{read.path} is right, and so are its files.", *warnings]),
    )


@config.command()
@config_option
@json_option
def show(config_file: Path) -> None:
    """Print every value in force and where it comes from."""
    from node.config_file import read_config

    read = read_config(config_file)
    rows = [(s.key, display(s.key, s.value), s.origin) for s in read.settings]
    document = {key: {"value": value, "origin": origin} for key, value, origin in rows}
    texts = [(key, _text(value), origin) for key, value, origin in rows]
    widths = [max(len(row[column]) for row in texts) for column in (0, 1)]
    emit(
        {"config": str(read.path), "settings": document},
        "\n".join(
            f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in texts
        ),
    )


def display(key: str, value: object) -> object:
    """Return a value as JSON can hold it, with the access keys of RPC servers hidden."""
    from node.addresses import format_address
    from node.config import ListenAddress
    from node.redaction import redact_url

    if isinstance(value, ListenAddress | Path):
        return str(value)
    if isinstance(value, bytes):
        return format_address(value)
    if isinstance(value, tuple):
        return [display(key, item) for item in value]
    if isinstance(value, str) and "://" in value:
        return redact_url(value)
    return value


def _text(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if value is None:
        return "(not set)"
    return str(value).lower() if isinstance(value, bool) else str(value)
