"""Run a network of real nodes on this machine, and judge it."""

import asyncio
import math
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.exit_codes import ExitCode
from node.cli.output import json_option, wants_json
from testnet.feed_count import FEEDS_MIN, FEEDS_USUAL

if TYPE_CHECKING:
    from testnet.cluster import Options
    from testnet.faults import FaultOrder

NODES_MAX = 31
_SEEDS = 1 << 32


class FiniteRange(click.FloatRange):
    """A range of numbers; NaN, which compares as if it were inside, and infinity are outside."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; fail as click does."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def _faults(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> "tuple[FaultOrder, ...]":
    if not texts:
        return ()
    from testnet.deployment import testnet_venues
    from testnet.faults import parse_fault

    try:
        return tuple(parse_fault(text, testnet_venues(FEEDS_USUAL)) for text in texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


class FaultsListed(click.Command):
    """A command whose help lists all faults and personas, one a line."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists."""
        from testnet.faults import FAULTS
        from testnet.personas.catalogue import PERSONAS

        for title, listed in (
            ("Faults", FAULTS),
            ("Personas", {name: persona.about for name, persona in PERSONAS.items()}),
        ):
            with formatter.section(title):
                formatter.write_dl(list(listed.items()))


@click.command(cls=FaultsListed)
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=4, show_default=True)
@click.option(
    "--duration",
    type=FiniteRange(min=1.0),
    help="Seconds from the first live prices; without it, until Ctrl-C.",
)
@click.option(
    "--rate",
    type=FiniteRange(0.1, 20.0),
    default=4.0,
    show_default=True,
    help="Rounds a second.",
)
@click.option(
    "--chain", type=click.Choice(["embedded", "anvil"]), default="embedded", show_default=True
)
@click.option(
    "--feeds",
    type=click.IntRange(min=FEEDS_MIN),
    default=FEEDS_USUAL,
    show_default=True,
    help="How many of the shipped feeds, the first ones.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_faults,
    metavar="FAULT",
    help="A fault or PERSONA[:COUNT], see below; may be given more than once.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, _SEEDS - 1),
    help="Decides prices, who has which persona, and what chaos does.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="A fresh directory to work in, which is kept.",
)
@json_option
def testnet(
    nodes: int,
    duration: float | None,
    rate: float,
    chain: str,
    feeds: int,
    faults: "tuple[FaultOrder, ...]",
    seed: int | None,
    directory: Path | None,
) -> int:
    """Run a network of real nodes on this machine, and judge what it did.

    Starts simulated exchanges, an EVM chain and the nodes as processes, deploys the Oracle, shows
    what happens, stops everything after --duration or on Ctrl-C, and has a separate process audit
    all that was signed and stored. The exit status is 0 only if nothing was violated.
    """
    from testnet.cluster import Options, fresh_directory

    options = Options(
        nodes=nodes,
        duration_s=duration,
        rate=rate,
        chain="anvil" if chain == "anvil" else "embedded",
        faults=faults,
        seed=random.SystemRandom().randrange(_SEEDS) if seed is None else seed,
        directory=directory or Path(),
        feeds=feeds,
    )
    _check_faults(options)
    _check_feeds(feeds)
    options = replace(options, directory=fresh_directory(directory))
    try:
        ok = asyncio.run(_run(options, keep=directory is not None))
    except asyncio.CancelledError:
        raise click.Abort from None
    return ExitCode.OK if ok else ExitCode.FAILURE


def _check_feeds(wanted: int) -> None:
    """Refuse more feeds than are shipped."""
    from testnet.deployment import testnet_feeds

    shipped = testnet_feeds(wanted).count
    if shipped < wanted:
        message = f"{wanted} feeds, but {shipped} are shipped: see docs/feeds.md"
        raise click.BadParameter(message, param_hint="--feeds")


def _check_faults(options: "Options") -> None:
    """Refuse faults that so many nodes cannot have."""
    wanted, faulty_max = options.personas_wanted, options.faulty_max
    if wanted > options.nodes:
        message = f"{wanted} members with a persona among {options.nodes} nodes"
        raise click.BadParameter(message, param_hint="--fault")
    if options.wants("partitions") and options.nodes < 3:
        message = f"{options.nodes} nodes cannot be parted so that no part goes on"
        raise click.BadParameter(message, param_hint="--fault")
    if options.wants("chaos") and wanted >= faulty_max:
        message = (
            f"chaos takes members away of which {options.nodes} nodes stand {faulty_max}, and "
            f"{wanted} have a persona: give more --nodes"
        )
        raise click.BadParameter(message, param_hint="--fault")


async def _run(options: "Options", *, keep: bool) -> bool:
    """Run, audit, summarise; a second signal gives up at once."""
    from node.errors import OperatorError
    from testnet.cluster import Cluster, remove_directory
    from testnet.judging import verdict_on
    from testnet.live_view import showing
    from testnet.summary import journals_of, summarise, to_json, to_text

    stop = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def told() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told)
    stream = sys.stderr if wants_json() else sys.stdout
    failure: OperatorError | None = None
    with showing(stream, tables=not wants_json()) as show:
        async with Cluster(options, stop, show) as cluster:
            try:
                await cluster.run()
            except OperatorError as error:
                failure = error
            verdict = await verdict_on(cluster)
    if failure is not None:
        click.echo(f"didyma: {failure}", err=True)
    journals = journals_of(options, cluster.deployment)
    summary = summarise(
        options, cluster.record, cluster.deployment, journals, verdict, failure, kept=keep
    )
    if not wants_json():
        click.echo(to_text(summary))
    if not keep and summary.ok:
        remove_directory(options.directory)
    if wants_json():
        click.echo(to_json(summary))
    return summary.ok
