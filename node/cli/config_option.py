"""The option that names the configuration file, for all commands that read it."""

from pathlib import Path

import click

DEFAULT_CONFIG = "node.toml"

config_option = click.option(
    "--config",
    "-c",
    "config_file",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    envvar="DIDYMA_CONFIG",
    show_envvar=True,
    help="The node's configuration file.",
)
