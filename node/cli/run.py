"""Run the node."""

import signal
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

    At SIGHUP it reads its configuration again: logging, peers' addresses, exchanges' endpoints, RPC
    servers and fee caps take force at once, the log names what needs a restart, and a file with a
    mistake changes nothing.

    A member does not start when its safety state is missing, because a vote that it forgot could
    make it sign twice; --new-member says that there was none.
    """
    from node.config_file import load_config

    # While it starts it has nothing to take over yet, and must not die of it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    config = load_config(config_file)
    from node.daemon import run as run_node  # slow to import: only once the configuration is right

    run_node(config, new_member=new_member, read_again=lambda: load_config(config_file))
