"""Run the node."""

from pathlib import Path

import click

from node.cli.config_option import config_option
from node.cli.output import json_option


@click.command()
@config_option
@click.option(
    "--new-member",
    is_flag=True,
    help="Start without a safety state: only for a BLS key that has never signed anything.",
)
@json_option
def run(config_file: Path, new_member: bool) -> None:
    """Run the node until it is told to stop (SIGINT or SIGTERM).

    A member does not start when its safety state is missing, because a vote that it forgot could
    make it sign twice; --new-member says that there was none.
    """
    from node.config_file import load_config

    config = load_config(config_file)
    from node.daemon import run as run_node  # slow to import: only once the configuration is right

    run_node(config, new_member=new_member)
