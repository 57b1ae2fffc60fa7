"""The network while it runs: tables that renew themselves in a terminal, lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from testnet.chain_watch import ChainWatch
from testnet.cluster import RUNNING, NodeState, Show, Snapshot
from testnet.developer import instructions

_LINE_EVERY_S = 5.0
_FAULTS_SHOWN = 3
_FEEDS_IN_A_LINE = 4
_STATUS_STYLES = {
    "live": "green",
    "carried": "cyan",
    "degraded": "yellow",
    "halted": "red",
    "unavailable": "dim",
}
_DOING_STYLES = {"running": "green", "starting": "yellow", "killed": "red", "dead": "bold red"}


@contextmanager
def showing(stream: TextIO = sys.stdout, *, tables: bool) -> Iterator[Show]:
    """Give a function that shows snapshots: as tables on a terminal if wanted, else as lines."""
    if not (tables and stream.isatty()):
        yield _Lines(stream).show
        return
    console = Console(file=stream)
    told = False
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(snapshot: Snapshot) -> None:
            nonlocal told
            if snapshot.phase == RUNNING and not told:
                told = True
                # Above the tables, where it stays and can be copied; no line is broken.
                console.out("\n".join(instructions(snapshot)), highlight=False)
            live.update(render(snapshot), refresh=True)

        yield show


class _Lines:
    """A line for each new phase and fault, and one every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._phase = ""
        self._faults = 0
        self._next = 0.0

    def show(self, snapshot: Snapshot) -> None:
        """Print what is new."""
        for at_ms, text in snapshot.faults[self._faults :]:
            self._print(f"fault: {text}", at_ms / 1_000)
        self._faults = len(snapshot.faults)
        if snapshot.phase != self._phase:
            self._phase = snapshot.phase
            self._print(snapshot.phase, time.time())
            if snapshot.phase == RUNNING:
                for line in instructions(snapshot):
                    print(line, file=self._stream, flush=True)
        elif snapshot.elapsed_s and time.monotonic() >= self._next:
            self._print(_line(snapshot), time.time())
        else:
            return
        self._next = time.monotonic() + _LINE_EVERY_S

    def _print(self, text: str, at_s: float) -> None:
        moment = time.strftime("%H:%M:%S", time.localtime(at_s))
        print(f"{moment}  {text}", file=self._stream, flush=True)


def _line(snapshot: Snapshot) -> str:
    every = _feeds(snapshot)
    feeds = [
        f"{feed['feed']} {_short(feed['price'])} {feed['status']}"
        for feed in every[:_FEEDS_IN_A_LINE]
    ]
    if others := every[_FEEDS_IN_A_LINE:]:
        counted = Counter(feed["status"] for feed in others)
        feeds.append("and " + ", ".join(f"{count} {name}" for name, count in counted.items()))
    views = [str((node.status or {}).get("view", node.doing)) for node in snapshot.nodes]
    pushes = len(snapshot.chain.pushes) if snapshot.chain is not None else 0
    return f"{', '.join(feeds)} | views {' '.join(views)} | {pushes} updates on chain"


def render(snapshot: Snapshot) -> Group:
    """Return the tables of a snapshot."""
    duration = "" if snapshot.duration_s is None else f" of {snapshot.duration_s:g}"
    elapsed = f", {snapshot.elapsed_s:.0f}{duration} s" if snapshot.elapsed_s else ""
    head = Text.assemble(("Didyma testnet", "bold"), f"  {snapshot.phase}{elapsed}")
    where = Text(f"{snapshot.directory}   Ctrl-C stops it", style="dim")
    faults = [
        Text(f"{time.strftime('%H:%M:%S', time.localtime(at_ms / 1_000))}  {text}", style="yellow")
        for at_ms, text in snapshot.faults[-_FAULTS_SHOWN:]
    ]
    return Group(
        head,
        where,
        _places(snapshot),
        _feed_table(snapshot),
        _node_table(snapshot),
        _chain_line(snapshot),
        *faults,
    )


def _places(snapshot: Snapshot) -> Text:
    """Return where a developer finds what runs."""
    places = []
    if snapshot.deployment is not None:
        first = snapshot.deployment.members[0]
        places.append(f"page and API of {first.name} http://127.0.0.1:{first.ports.api}/")
    if snapshot.rpc_url is not None:
        places.append(f"chain {snapshot.rpc_url}")
    if snapshot.chain is not None:
        places.append(f"Oracle {snapshot.chain.oracle}")
    return Text("   ".join(places), style="dim")


def _feeds(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the feeds as the node that is furthest tells them."""
    if snapshot.furthest is None or snapshot.furthest >= len(snapshot.nodes):
        return []
    status = snapshot.nodes[snapshot.furthest].status or {}
    return list(status.get("feeds") or ())


def _feed_table(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("feed")
    for name in ("price", "± ppm", "age", "signers", "sources", "on chain", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("this node warns", overflow="ellipsis", no_wrap=True)
    members = len(snapshot.nodes)
    answers = snapshot.chain.answers if snapshot.chain is not None else ()
    for feed in _feeds(snapshot):
        stored = answers[feed["index"]] if feed["index"] < len(answers) else None
        on_chain, on_chain_age = "–", "–"
        if stored is not None and stored.price:
            on_chain = _decimal(stored.price, feed["decimals"])
            on_chain_age = _age(_now_ms() - stored.observed_at_ms)
        table.add_row(
            feed["feed"],
            _short(feed["price"]),
            "–" if feed["confidence_ppm"] is None else str(feed["confidence_ppm"]),
            _age(feed["age_ms"]),
            f"{len(snapshot.signers)}/{members}",
            f"{feed['sources_used']}/{feed['sources_all']}",
            on_chain,
            on_chain_age,
            Text(feed["status"], style=_STATUS_STYLES.get(feed["status"], "")),
            Text("; ".join((*feed["alarms"], *feed["apart"])), style="yellow"),
        )
    return table


def _node_table(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("node")
    table.add_column("")
    for name in ("view", "height", "peers", "certified", "last certificate", "timeouts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("note", overflow="ellipsis", no_wrap=True)
    for node in snapshot.nodes:
        table.add_row(
            node.name,
            Text(node.doing, style=_DOING_STYLES.get(node.doing, "")),
            *_node_cells(node, len(snapshot.nodes)),
        )
    return table


def _node_cells(node: NodeState, members: int) -> tuple[str, ...]:
    status = node.status
    note = node.persona or ""
    if status is None:
        return ("–", "–", "–", "–", "–", "–", note)
    latest = status.get("latest")
    reasons = status.get("reasons") or ()
    return (
        str(status["view"]),
        str(status["height"]),
        f"{status['committee']['connected'] - 1}/{members - 1}",
        str(status["rounds_certified"]),
        "–" if latest is None else f"{_age(latest['age_ms'])} ago",
        str(status["timeouts"]),
        "; ".join(filter(None, (note, *reasons))),
    )


def _chain_line(snapshot: Snapshot) -> Text:
    chain = snapshot.chain
    if chain is None or not chain.head:
        return Text("chain  starting", style="dim")
    return Text(f"chain  block {chain.head}, {_last_push(chain)}")


def _last_push(chain: ChainWatch) -> str:
    if chain.error:
        return chain.error
    if not chain.pushes:
        return "no update yet"
    last = chain.pushes[-1]
    age = _age(_now_ms() - last.seen_ms)
    return (
        f"{len(chain.pushes)} updates, the last {age} ago: view {last.place.view}, "
        f"{last.gas_used} gas"
    )


def _decimal(price: int, decimals: int) -> str:
    whole, fraction = divmod(price, 10**decimals)
    return _short(f"{whole}.{fraction:0{decimals}}")


def _short(price: str | None) -> str:
    """Return a price with as many digits as people read."""
    if price is None:
        return "–"
    whole, _, fraction = price.partition(".")
    return f"{whole}.{fraction[: max(2, 7 - len(whole))]}" if fraction else whole


def _age(ms: int | None) -> str:
    if ms is None:
        return "–"
    return f"{max(ms, 0) / 1_000:.1f} s"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
