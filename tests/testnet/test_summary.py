import json
from pathlib import Path

import pytest

from contracts.client import Place
from node.journal import Certified, Committed, Header, Signed, Started
from testnet.audit.verdict import Verdict, failed
from testnet.audit.violation import Violation
from testnet.chain_watch import SeenPush
from testnet.cluster import Options, Run
from testnet.deployment import testnet_feeds as feeds_of_testnet
from testnet.faults import FaultOrder, parse_fault
from testnet.measures import certificate_to_chain, rounds_of, triggers_of
from testnet.quantiles import quantile
from testnet.summary import summarise, to_json, to_text

OK = Verdict(True, (), {}, 2, 1, 0, 8, 0, 0.25, 1.5, {"live": 8})

FORKED = Verdict(False, (Violation("fork", "x"),), {"fork": 1}, 2, 1, 0, 8, 0, None, None, {})


def started(t_ms: int) -> Started:
    return Started(0, t_ms, "", "", 0, "d", 0, "", "")


def observed(view: int, t_ms: int) -> Signed:
    return Signed(0, t_ms, "d", "observation", view, "")


def certified(view: int, t_ms: int) -> Certified:
    header = Header(view, t_ms, "", "")
    return Certified(0, t_ms, "d", view, f"id{view}", view, "", view - 1, header, "", "", ())


def committed(view: int, t_ms: int) -> Committed:
    return Committed(0, t_ms, "d", view, view, f"id{view}", "")


def options() -> Options:
    return Options(4, 60.0, 4.0, "embedded", (), 1, Path("/nowhere"))


def run(**changes: object) -> Run:
    made = Run(started_ms=0, warm_ms=1_000, stopped_ms=3_000)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_quantiles_are_samples() -> None:
    assert quantile([], 50) is None
    assert quantile([7], 99) == 7
    assert quantile([4, 1, 3, 2], 50) == 2
    assert quantile(range(1, 101), 99) == 99


def test_rounds_are_counted_once_over_all_members() -> None:
    one = [observed(1, 900), certified(1, 1_000), observed(2, 1_200), certified(2, 1_290)]
    other = [observed(1, 910), certified(1, 990), committed(1, 1_300)]
    rounds = rounds_of([one, other])
    assert (rounds.certified, rounds.committed) == (2, 1)
    assert rounds.first_certified_ms == {1: 990, 2: 1_290}
    assert sorted(rounds.observation_to_certificate) == [80, 90, 100]
    assert rounds.certified_between(1_000, 2_000) == 1


def test_a_restart_is_no_latency() -> None:
    rounds = rounds_of([[observed(1, 0), started(9_000), certified(1, 9_500)]])
    assert rounds.observation_to_certificate == ()


@pytest.mark.parametrize(
    ("certified_ms", "gap_ms"), [((), 2_000), ((1_500,), 1_500), ((1_500, 2_900), 1_400)]
)
def test_the_longest_gap_counts_both_ends(certified_ms: tuple[int, ...], gap_ms: int) -> None:
    rounds = rounds_of([[certified(view, t_ms) for view, t_ms in enumerate(certified_ms, 1)]])
    assert rounds.longest_gap_ms(1_000, 3_000) == gap_ms


def push(view: int, observed_at_ms: int, words: tuple[int, ...], seen_ms: int = 0) -> SeenPush:
    return SeenPush(Place(0, view, observed_at_ms, 0b111), words, seen_ms, 1, 200_000)


def word(*prices: int) -> tuple[int, ...]:
    lane = 0
    for price in prices:
        lane = lane << 64 | price << 16 | 1
    return (lane,)


def test_pushes_are_counted_by_what_made_them_due() -> None:
    calm = word(10**6, 10**6, 10**6, 10**6)
    moved = word(10**6 + 1_100, 10**6, 10**6, 10**6)
    pushes = [
        push(1, 1_000, calm),
        push(9, 3_000, moved),
        push(90, 23_000, moved),
        push(91, 23_250, moved),
    ]
    assert triggers_of(pushes, feeds_of_testnet(4)) == {
        "status": 1,
        "deviation": 1,
        "heartbeat": 1,
        "other": 1,
    }


def test_the_way_to_the_chain_begins_with_the_first_certificate() -> None:
    rounds = rounds_of([[certified(3, 1_000)], [certified(3, 980)]])
    assert certificate_to_chain(rounds, [push(3, 0, (), 1_480), push(4, 0, (), 1_500)]) == [500]


def test_the_summary_is_one_line_of_json() -> None:
    journals = [[certified(1, 1_200), certified(2, 1_400)]]
    summary = summarise(options(), run(), None, journals, OK, kept=False)
    line = to_json(summary)
    assert "\n" not in line
    document = json.loads(line)
    assert document["ok"] is True
    assert document["violations"] == []
    assert document["rounds_certified"] == 2
    assert document["rounds_per_second"] == 1.0
    assert document["longest_gap_ms"] == 1_600
    assert document["price_error_bp"] == {"p50": 0.25, "max": 1.5}
    assert set(document["latency_ms"]) == {
        "tick_to_observation",
        "observation_to_certificate",
        "certificate_to_chain",
    }
    assert "ok: nothing was violated" in to_text(summary)


@pytest.mark.parametrize(
    ("made", "verdict", "failure"),
    [
        (run(), failed("the auditor died"), None),
        (run(crashes=["node1 stopped by itself"]), OK, None),
        (run(), OK, RuntimeError("the chain did not start")),
        (run(), FORKED, None),
    ],
)
def test_nothing_bad_is_ok(made: Run, verdict: Verdict, failure: Exception | None) -> None:
    journals = [[certified(1, 1_200)]]
    summary = summarise(options(), made, None, journals, verdict, failure, kept=True)
    assert not summary.ok
    assert summary.violations
    assert "NOT OK" in to_text(summary)


def test_a_run_without_any_certificate_is_not_ok() -> None:
    assert not summarise(options(), run(warm_ms=None), None, [], OK, kept=False).ok


def test_faults_are_read_from_the_command_line() -> None:
    venues = ("binance", "gemini", "okx")
    assert parse_fault("kill-leader", venues) == FaultOrder("kill-leader")
    assert parse_fault("dead-exchange", venues).venues == ("binance", "gemini")
    assert parse_fault("dead-exchange:okx,okx", venues).venues == ("okx",)
    assert parse_fault("liar", venues) == FaultOrder("persona", persona="liar")
    assert parse_fault("stale:3", venues).count == 3
    lie = FaultOrder("lying-exchange", ("okx",), factor=0.5)
    assert parse_fault("lying-exchange:okx:0.5", venues) == lie
    assert parse_fault("lying-exchange", (*venues, "kraken")).venues == ("kraken",)
    assert parse_fault("depeg", venues) == FaultOrder("depeg", asset="USDT", factor=0.5)
    assert parse_fault("depeg:DAI:0.9", venues) == FaultOrder("depeg", asset="DAI", factor=0.9)
    for text in ("lying-exchange:okx:1", "depeg:USDT:0", "depeg:DAI:x", "lying-exchange:okx:nan"):
        with pytest.raises(ValueError, match="factor"):
            parse_fault(text, venues)
    with pytest.raises(ValueError, match="the market has no 'PEPE'"):
        parse_fault("depeg:PEPE", venues)
    for text in (
        "",
        "chaos:2",
        "lying-exchange:mtgox",
        "dead-exchange:",
        "dead-exchange:mtgox",
        "Liar",
    ):
        with pytest.raises(ValueError, match=r"there (is|are)"):
            parse_fault(text, venues)
    for text in ("liar:", "liar:0", "liar:-1", "liar:²", "liar:99999"):
        with pytest.raises(ValueError, match="how many members"):
            parse_fault(text, venues)
