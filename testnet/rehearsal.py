"""A committee that watches the recorded month, quiet or with something put in; no network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from aggregation.alarm import RISK_NOTICE, Alarm
from aggregation.replay import Moment, Replay
from aggregation.status import Status
from aggregation.table import FeedTable
from feeds.catalogue import load_catalogue
from testnet.injections import Injection
from testnet.market import MIDDLE_SCALE, Depeg, Market
from testnet.quoted_market import Distortion, QuotedMarket, undistorted

ORIGIN_MS = 1_800_000_000_000
ROUND_MS = 250
USUAL_MS = 1_000
"""How often the market is looked at while nothing is put in."""

WARM_S = 900
WATCH_S = 90
_DAY_S = 86_400
_ONE = int(10**MIDDLE_SCALE)


@dataclass(slots=True)
class Trial:
    """What became of one injection; times in seconds since it began, None for never.

    `noticed_s`: a member's alarm is agreed on, or, at one venue, all but f members name it;
    `warned_s`: the answer is not live any more. `error_bp` is the greatest distance of a live or
    degraded answer from the true middle, which at one venue the injection does not change.
    """

    injection: Injection
    noticed_s: float | None = None
    warned_s: float | None = None
    live_again_s: float | None = None
    error_bp: float = 0.0
    prices: list[tuple[float, float, float, Status]] | None = None


@dataclass(slots=True)
class Quiet:
    """A time in which nothing was put in: how often members or answers warned all the same."""

    seconds: int = 0
    notices: int = 0
    degraded: int = 0
    halted: int = 0
    seconds_not_live: int = 0
    error_bp: float = 0.0

    def a_day(self, count: int) -> float:
        """Return a count as so many a day."""
        return count * _DAY_S / self.seconds if self.seconds else 0.0

    def plus(self, other: "Quiet") -> "Quiet":
        """Return both times together."""
        return Quiet(
            self.seconds + other.seconds,
            self.notices + other.notices,
            self.degraded + other.degraded,
            self.halted + other.halted,
            self.seconds_not_live + other.seconds_not_live,
            max(self.error_bp, other.error_bp),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """One round: BTC/USD's status, its distance from the true middle, and what one member says."""

    status: Status
    error_bp: float
    alarms: frozenset[Alarm]
    apart: frozenset[str]


def bitcoin_table() -> FeedTable:
    """Return BTC/USD and what converts for it, as they are shipped."""
    table = load_catalogue()
    return FeedTable((table.feeds[table.index("BTC/USD")], table.feeds[table.index("USDT/USD")]))


class Rehearsal:
    """A committee that watches the recorded month from one of its minutes on."""

    def __init__(self, start_minute: int, seed: int = 1, members: int = 4) -> None:
        self._table = bitcoin_table()
        self._market = Market(seed, ORIGIN_MS, start_minute)
        self._quotes = QuotedMarket(self._table, self._market)
        self._members = members
        self._replay = Replay(self._table, ORIGIN_MS, members)
        self._now_ms = ORIGIN_MS

    def quiet(self, seconds: int, step_ms: int = USUAL_MS) -> Quiet:
        """Watch for a time in which nothing is put in."""
        found = Quiet(seconds)
        risk = self._risk()
        status = Status.LIVE
        for _ in range(seconds * 1_000 // step_ms):
            self._step(step_ms)
            before, risk = risk, self._risk()
            found.notices += before < RISK_NOTICE <= risk
            was, status = status, self._status()
            found.degraded += status is Status.DEGRADED is not was
            found.halted += status is Status.HALTED is not was
            found.seconds_not_live += 0 if status is Status.LIVE else step_ms
            found.error_bp = max(found.error_bp, self._error_bp(0.0))
        found.seconds_not_live //= 1_000
        return found

    def warm(self) -> None:
        """Let everybody learn what is usual, and become live."""
        self.quiet(WARM_S)
        for _ in range(40):
            self._step(ROUND_MS)

    def trial(self, injection: Injection, *, watch_s: int = WATCH_S, plot: bool = False) -> Trial:
        """Put something in, watch, and go back to before."""
        moment, begun_ms = self._replay.moment, self._now_ms
        trial = Trial(injection, prices=[] if plot else None)
        distortion = injection.distortion(begun_ms)
        while self._now_ms < begun_ms + watch_s * 1_000:
            self._step(ROUND_MS, distortion)
            self._judge(trial, (self._now_ms - begun_ms) / 1_000)
        self._go_back(moment, begun_ms)
        return trial

    def _judge(self, trial: Trial, passed_s: float) -> None:
        injection, status = trial.injection, self._status()
        noticed = self._names(injection.venue) if injection.venue else self._risk() >= RISK_NOTICE
        if trial.noticed_s is None and (noticed or status is Status.HALTED):
            trial.noticed_s = passed_s
        if trial.warned_s is None and status is not Status.LIVE:
            trial.warned_s = passed_s
        if trial.warned_s is not None and trial.live_again_s is None and status is Status.LIVE:
            trial.live_again_s = passed_s
        change = 0.0 if injection.venue else injection.shape(passed_s)
        error_bp = self._error_bp(change)
        if status in (Status.LIVE, Status.DEGRADED):
            trial.error_bp = max(trial.error_bp, error_bp)
        if trial.prices is not None:
            middle = self._market.middle("BTC", self._now_ms) / _ONE
            trial.prices.append((passed_s, middle * (1 + change), self._price(), status))

    def watch(
        self,
        seconds: int,
        *,
        step_ms: int = ROUND_MS,
        distortion: Distortion = undistorted,
        dead: frozenset[str] = frozenset(),
        depeg: Depeg | None = None,
    ) -> Iterator[Seen]:
        """Yield what is agreed while something is wrong, and go back to before."""
        moment, begun_ms = self._replay.moment, self._now_ms
        if depeg is not None:
            self._market.depeg(replace(depeg, at_ms=begun_ms))
        while self._now_ms < begun_ms + seconds * 1_000:
            self._step(step_ms, distortion, dead)
            apart = {key[0] for key in self._replay.moment.prices[0][0].outliers}
            alarms = self._replay.moment.prices[0][0].alarms
            yield Seen(self._status(), self._error_bp(0.0), alarms, frozenset(apart))
        if depeg is not None:
            self._market.depegs_over()
        self._go_back(moment, begun_ms)

    def _go_back(self, moment: Moment, to_ms: int) -> None:
        self._replay.back_to(moment)
        self._quotes = QuotedMarket(self._table, self._market)
        self._now_ms = to_ms

    def _step(
        self,
        step_ms: int,
        distortion: Distortion = undistorted,
        dead: frozenset[str] = frozenset(),
    ) -> Moment:
        self._now_ms += step_ms
        self._quotes.move(self._now_ms, distortion, dead)
        views = [self._quotes.view() for _ in range(self._members)]
        return self._replay.round(self._now_ms, views)

    def _names(self, venue: str) -> bool:
        """Tell whether all but f members find that a venue stands apart."""
        naming = 0
        for prices in self._replay.moment.prices:
            apart = {key[0] for key in prices[0].outliers}
            naming += venue in apart and Alarm.OUTLIER in prices[0].alarms
        return naming >= self._members - (self._members - 1) // 3

    def _risk(self) -> int:
        return self._replay.moment.state.feeds[0].risk

    def _status(self) -> Status:
        return self._replay.moment.state.feeds[0].status

    def _price(self) -> float:
        scale: int = 10 ** self._table.feeds[0].decimals
        return self._replay.moment.state.feeds[0].price / scale

    def _error_bp(self, change: float) -> float:
        middle = self._market.middle("BTC", self._now_ms) / _ONE * (1 + change)
        return abs(self._price() / middle - 1) * 10_000


@dataclass(frozen=True, slots=True)
class Detection:
    """What became of all trials of one injection."""

    injection: Injection
    trials: int
    noticed: int
    warned: int
    delay_p50_s: float | None
    delay_max_s: float | None
    error_bp_max: float


def summed_up(trials: Sequence[Trial]) -> list[Detection]:
    """Return the rates and delays of trials, by injection in their order."""
    by_name: dict[tuple[str, str | None], list[Trial]] = {}
    for trial in trials:
        by_name.setdefault((trial.injection.name, trial.injection.venue), []).append(trial)
    found = []
    for same in by_name.values():
        delays = sorted(trial.noticed_s for trial in same if trial.noticed_s is not None)
        found.append(
            Detection(
                same[0].injection,
                len(same),
                len(delays),
                sum(trial.warned_s is not None for trial in same),
                delays[len(delays) // 2] if delays else None,
                delays[-1] if delays else None,
                max(trial.error_bp for trial in same),
            )
        )
    return found
