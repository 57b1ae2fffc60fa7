"""Which address a command asks: the one given, or the listener of the configuration."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import click


def node_url(url: str | None, config_file: Path, listener: Literal["api", "control"]) -> str:
    """Return a base URL; raise `ConfigFileError` if neither is there."""
    if url is not None:
        _check(url)
        return url
    from node.config_file import load_config

    config = load_config(config_file)
    address = (config.api if listener == "api" else config.control).listen
    # A listener on every address is asked on loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return f"http://{address._replace(host=host)}"


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter("must be like http://127.0.0.1:9480", param_hint="--url")
