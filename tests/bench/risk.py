"""False alarms a day on the recorded month, and how surely and how soon injections are noticed.

    make bench-risk                                   the tables
    make bench-risk ARGS="--plot risk.svg"            and a picture of one trial of each injection
    make bench-risk ARGS="--quick"                    a tenth of it

The whole month is watched every twenty seconds by one member, and half a day of it, in hours
spread over the month, every second by four. Each injection is tried at several minutes of the
month, with a round each 250 ms by four members: at one venue, and as a move of the whole market.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aggregation.status import Status
from node.plot import Panel, check_plot_file, save_plot
from testnet.injections import injections
from testnet.rehearsal import Detection, Quiet, Rehearsal, Trial, summed_up

MONTH_MINUTES = 45_000
_HOUR_S = 3_600
_DAY_S = 24 * _HOUR_S
_LEARN_S = 600


def month_part(start_minute: int, seconds: int) -> Quiet:
    """Watch a part of the month by one member, every twenty seconds."""
    rehearsal = Rehearsal(start_minute, members=1)
    rehearsal.quiet(_LEARN_S, 20_000)
    return rehearsal.quiet(seconds, 20_000)


def hour(start_minute: int) -> Quiet:
    """Watch an hour by four members, every second."""
    rehearsal = Rehearsal(start_minute)
    rehearsal.warm()
    return rehearsal.quiet(_HOUR_S)


def tried(start_minute: int, plot: bool) -> list[Trial]:
    """Try every injection from one minute of the month on."""
    rehearsal = Rehearsal(start_minute)
    rehearsal.warm()
    return [rehearsal.trial(injection, plot=plot) for injection in injections()]


def spread(count: int) -> list[int]:
    """Return minutes spread evenly over the month."""
    return [MONTH_MINUTES * i // count + 7 for i in range(count)]


def total(parts: list[Quiet]) -> Quiet:
    """Return all times together."""
    whole = Quiet()
    for part in parts:
        whole = whole.plus(part)
    return whole


def quiet_row(name: str, quiet: Quiet) -> list[str]:
    """Return a row of the table of false alarms."""
    share = 100 * quiet.seconds_not_live / quiet.seconds
    return [
        name,
        f"{quiet.seconds / _DAY_S:.1f}",
        *(f"{quiet.a_day(n):.2f}" for n in (quiet.notices, quiet.degraded, quiet.halted)),
        f"{share:.3f} %",
        f"{quiet.error_bp:.1f}",
    ]


def detection_row(found: Detection) -> list[str]:
    """Return a row of the table of injections."""
    shown = [
        "-" if delay is None else f"{delay:.2f}" for delay in (found.delay_p50_s, found.delay_max_s)
    ]
    return [
        found.injection.name,
        found.injection.venue or "everywhere",
        f"{found.noticed}/{found.trials}",
        *shown,
        f"{found.warned}/{found.trials}",
        f"{found.error_bp_max:.1f}",
    ]


def shown(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """Return a table."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def panels(trials: list[Trial]) -> list[Panel]:
    """Return a picture of each trial."""
    made = []
    for trial in trials:
        where = trial.injection.venue or "everywhere"
        panel = Panel(f"{trial.injection.name}, {where}")
        truth: list[tuple[float, float | None]] = []
        for at, true, agreed, status in trial.prices or ():
            truth.append((at, true))
            priced = agreed if status is not Status.UNAVAILABLE else None
            panel.points.append((at, priced, status))
        panel.beside["true middle"] = truth
        if trial.noticed_s is not None:
            panel.marks.append((trial.noticed_s, "noticed"))
        made.append(panel)
    return made


def main() -> int:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--plot", type=Path, help="write a picture: .svg, .png or .pdf")
    parser.add_argument("--json", action="store_true", help="print one object instead of tables")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    arguments = parser.parse_args()
    if arguments.plot is not None:
        check_plot_file(arguments.plot)
    begun = time.monotonic()
    parts = 3 if arguments.quick else 31
    starts = spread(2 if arguments.quick else 8)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        month = pool.map(month_part, spread(parts), [_DAY_S - _LEARN_S] * parts)
        hours = pool.map(hour, spread(2 if arguments.quick else 12))
        trials = pool.map(tried, starts, [start == starts[0] for start in starts])
        quiet = {"month, every 20 s": total(list(month)), "hours, every second": total(list(hours))}
        by_start = list(trials)
    found = summed_up([trial for same in by_start for trial in same])
    if arguments.plot is not None:
        save_plot(arguments.plot, panels(by_start[0]))
    if arguments.json:
        made = {
            "quiet": {name: asdict(part) for name, part in quiet.items()},
            "injections": [
                {"name": d.injection.name, "venue": d.injection.venue}
                | {k: v for k, v in asdict(d).items() if k != "injection"}
                for d in found
            ],
        }
        print(json.dumps(made, default=str))
        return 0
    console = Console(width=110)
    console.print(
        shown(
            "BTC/USD while nothing is put in",
            [
                "watched",
                "days",
                "notices/day",
                "degraded/day",
                "halted/day",
                "not live",
                "error bp",
            ],
            [quiet_row(name, part) for name, part in quiet.items()],
        )
    )
    console.print(
        shown(
            "Injections",
            ["what", "where", "noticed", "delay p50 s", "max s", "not live", "error bp"],
            [detection_row(one) for one in found],
        )
    )
    console.print(f"{time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
