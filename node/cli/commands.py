"""The root command: finds commands without importing them, and turns faults into exit codes."""

import ast
import os
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import click

from node.cli.exit_codes import ExitCode
from node.cli.output import emit_error
from node.errors import ConfigurationError, MemberHeld, NodeUnreachable, OperatorError

ENTRY_POINT_GROUP = "didyma.commands"

_BUILT_IN = {
    "init": ("node.cli.init:init", "Make a node's directory: keys, passwords, configuration."),
    "keys": ("node.cli.keys:keys", "Make, list and show keys; export a registration."),
    "network": ("node.cli.network:network", "Assemble and sign a committee file."),
    "committee": ("node.cli.committee:committee", "Propose and approve the next committee."),
    "config": ("node.cli.config:config", "Check or show the configuration in force."),
    "doctor": ("node.cli.doctor:doctor", "Look at all that a node needs; say what to mend."),
    "safety": (
        "node.cli.safety:safety",
        "Show, export and import what the member must never forget.",
    ),
    "run": ("node.cli.run:run", "Run the node."),
    "status": ("node.cli.status:status", "Ask the running node how it is."),
    "feeds": ("node.cli.feeds:feeds", "List, try and decode feeds and their sources."),
    "evidence": (
        "node.cli.evidence:evidence",
        "Show, export and verify proof of what members did wrong.",
    ),
    "oracle": ("node.cli.oracle:oracle", "Read prices from an Oracle on a chain."),
    "reports": ("node.cli.reports:reports", "Fetch reports, and verify them without a node."),
}


_NOT_USABLE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What is wrong with a file that was named, whichever command names it."""


class RootCommand(click.Group):
    """A group whose commands are imported only when they are called.

    Other distributions add commands through the entry-point group `didyma.commands`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, ours first."""
        return [*_BUILT_IN, *sorted(_entry_points().keys() - _BUILT_IN.keys())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in _BUILT_IN:
            module, _, name = _BUILT_IN[cmd_name][0].partition(":")
            found = getattr(import_module(module), name)
        elif cmd_name in (added := _entry_points()):
            found = _load(added[cmd_name])
        else:
            return None
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, none of which is imported for it."""
        added = _entry_points()
        rows = [
            (name, _BUILT_IN[name][1] if name in _BUILT_IN else _summary(added[name]))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; exit with a documented code and without a traceback for user's faults."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        arguments = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in arguments
        try:
            outcome = super().main(arguments, prog_name or "didyma", complete_var, False, **extra)
            sys.exit(outcome if isinstance(outcome, int) else ExitCode.OK)
        except click.UsageError as error:
            if not as_json:
                error.show()
                sys.exit(ExitCode.USAGE)
            _fail(as_json, "usage", error.format_message(), ExitCode.USAGE)
        except click.ClickException as error:
            _fail(as_json, "failure", error.format_message(), error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            _fail(as_json, "interrupted", "interrupted", ExitCode.INTERRUPTED)
        except OperatorError as error:
            kind, code = _classify(error)
            problems = [asdict(problem) for problem in error.problems]
            _fail(as_json, kind, error.message if as_json else str(error), code, problems)
        except BrokenPipeError:
            # Whoever read our output has left; without this, Python complains at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ExitCode.FAILURE)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            reason = error.strerror or str(error)
            if place and isinstance(error, _NOT_USABLE):
                _fail(as_json, "configuration", f"{place}{reason}", ExitCode.CONFIGURATION)
            _fail(as_json, "failure", f"{place}{reason}", ExitCode.FAILURE)


def _classify(error: OperatorError) -> tuple[str, ExitCode]:
    if isinstance(error, ConfigurationError):
        return "configuration", ExitCode.CONFIGURATION
    if isinstance(error, MemberHeld):
        return "held", ExitCode.HELD
    if isinstance(error, NodeUnreachable):
        return "unreachable", ExitCode.UNREACHABLE
    return "failure", ExitCode.FAILURE


def _fail(
    as_json: bool,
    kind: str,
    message: str,
    code: int,
    problems: list[dict[str, str]] | None = None,
) -> NoReturn:
    if as_json:
        emit_error(kind, message, code, problems or [])
    else:
        click.echo(f"didyma: {message}", err=True)
    sys.exit(code)


def _entry_points() -> MutableMapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _summary(point: EntryPoint) -> str:
    """Return the first line of the docstring of a command's module, read but not imported."""
    try:
        spec = find_spec(point.module)
        source = Path(spec.origin).read_text() if spec is not None and spec.origin else ""
        text = ast.get_docstring(ast.parse(source)) or ""
    except (ImportError, OSError, SyntaxError, ValueError):
        text = ""
    return text.partition("\n")[0] or "(Not described.)"


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        name = point.dist.name if point.dist is not None else "didyma"
        raise click.ClickException(
            f"`didyma {point.name}` needs {error.name}, which is not installed; install it with "
            f"`pip install '{name}[{point.name}]'`"
        ) from None
