"""Prices over time as a picture, by matplotlib, which the extra `plot` brings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aggregation.status import Status
from node.errors import OperatorError

FORMATS = ("svg", "png", "pdf")

_COLOURS = {
    Status.DEGRADED: "#f0c000",
    Status.HALTED: "#d03030",
    Status.CARRIED: "#40a0d0",
    Status.UNAVAILABLE: "#808080",
}


@dataclass(slots=True)
class Panel:
    """One line of prices, each (seconds, price, status); `beside` are others to compare it with.

    A price that there is not is None. `marks` are moments with a word each.
    """

    title: str
    points: list[tuple[float, float | None, Status]] = field(default_factory=list)
    beside: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)
    marks: list[tuple[float, str]] = field(default_factory=list)


def check_plot_file(path: Path) -> None:
    """Raise `OperatorError` if no picture could be written there, before long work is done."""
    if path.suffix.removeprefix(".").lower() not in FORMATS:
        raise OperatorError(f"{path}: name a file that ends with .{', .'.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise OperatorError(f"{path}: there is no such directory")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OperatorError(
            "pictures need matplotlib: install didyma with the extra `plot`, as in "
            "pip install 'didyma[plot]'"
        ) from None


def save_plot(path: Path, panels: Sequence[Panel]) -> None:
    """Write panels below each other; statuses other than live are shown as coloured ground."""
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    figure = Figure(figsize=(11, 2.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)
    for panel, (axis,) in zip(panels, axes, strict=True):
        for name, others in panel.beside.items():
            line = _numbers([price for _, price in others])
            axis.plot([at for at, _ in others], line, linewidth=0.7, alpha=0.6, label=name)
        line = _numbers([price for _, price, _ in panel.points])
        times = [at for at, _, _ in panel.points]
        axis.plot(times, line, linewidth=1.2, color="black", label="agreed")
        for begin, end, status in _spans(panel.points):
            axis.axvspan(begin, end, color=_COLOURS[status], alpha=0.25, linewidth=0)
        for at, word in panel.marks:
            axis.axvline(at, color="#a000a0", linewidth=0.6)
            axis.annotate(
                word, (at, 1), xycoords=("data", "axes fraction"), fontsize=6, rotation=90
            )
        axis.set_title(panel.title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=6, loc="upper left", ncols=6)
    axes[-1][0].set_xlabel("seconds; yellow degraded, red halted, blue carried, grey unavailable")
    try:
        figure.savefig(path)
    except OSError as error:
        raise OperatorError(f"{path}: cannot be written ({error.strerror})") from None


def _numbers(prices: Sequence[float | None]) -> list[float]:
    return [float("nan") if price is None else price for price in prices]


def _spans(
    points: Sequence[tuple[float, float | None, Status]],
) -> list[tuple[float, float, Status]]:
    """Return (from, to, status) of each stretch that is not live."""
    spans: list[tuple[float, float, Status]] = []
    for at, _, status in points:
        if spans and spans[-1][1] == -1.0:
            begin, _, before = spans[-1]
            if status is before:
                continue
            spans[-1] = (begin, at, before)
        if status is not Status.LIVE:
            spans.append((at, -1.0, status))
    if spans and spans[-1][1] == -1.0:
        begin, _, before = spans[-1]
        spans[-1] = (begin, points[-1][0], before)
    return spans
