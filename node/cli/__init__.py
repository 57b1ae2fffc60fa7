"""The command line. Commands are imported only when they are called."""

import click

from node.cli.commands import RootCommand
from node.cli.exit_codes import MEANING
from node.cli.output import json_option

_EPILOG = "\b\nExit status:\n" + "\n".join(
    f"  {code.value:>3}  {meaning}" for code, meaning in MEANING.items()
)


@click.group(
    cls=RootCommand,
    epilog=_EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "DIDYMA",
        "max_content_width": 100,
    },
)
@click.version_option(package_name="didyma", prog_name="didyma")
@json_option
def main() -> None:
    """Didyma: agreed prices under one BLS signature.

    Every option can also be set by an environment variable, for example DIDYMA_RUN_CONFIG.
    """
