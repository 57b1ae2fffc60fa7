"""Real processes: a whole testnet, stopped in every way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

DIDYMA = [sys.executable, "-P", "-m", "node.cli", "testnet"]
PATIENCE_S = 240


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Give a place for a testnet, and see that no process of it is left."""
    place = tmp_path / "net"
    yield place
    deadline = time.monotonic() + 10
    while processes_of(place) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(place) == {}


def processes_of(directory: Path) -> dict[int, str]:
    """Return the command lines of processes whose log is in a testnet's directory, by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            log = os.readlink(entry / "fd" / "2") if entry.name.isdigit() else ""
        except OSError:
            continue
        if str(directory) in log and int(entry.name) != os.getpid():
            found[int(entry.name)] = command
    return found


def start(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*DIDYMA, "--dir", str(directory), "--seed", "5", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_phase(process: "subprocess.Popen[str]", phase: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if phase in line:
            return
    pytest.fail(f"the testnet ended before {phase!r}")


def last_line(process: "subprocess.Popen[str]") -> dict[str, object]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert out, err
    document: dict[str, object] = json.loads(out.splitlines()[-1])
    return document


@pytest.mark.slow
def test_a_testnet_agrees_and_updates_the_chain(directory: Path) -> None:
    process = start(directory, "--duration", "15")
    summary = last_line(process)
    assert summary["violations"] == []
    assert summary["ok"] is True
    assert process.returncode == 0
    assert summary["nodes"] == 4
    assert int(str(summary["rounds_certified"])) > 10
    assert int(str(summary["updates_on_chain"])) >= 1
    # The directory can be judged again without the chain.
    command = [sys.executable, "-P", "-m", "testnet.audit", str(directory)]
    again = subprocess.run(command, capture_output=True, check=True, text=True)
    assert json.loads(again.stdout)["ok"] is True


@pytest.mark.slow
def test_prices_stay_right_through_all_faults_at_once(directory: Path) -> None:
    faults = ("--fault", "kill-leader", "--fault", "liar", "--fault", "dead-exchange")
    process = start(directory, "--duration", "25", *faults)
    summary = last_line(process)
    assert summary["violations"] == []
    assert summary["ok"] is True
    # One liar, two exchanges, and at least one leader.
    assert int(str(summary["faults_injected"])) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faults", "feed", "warned"),
    [
        (["lying-exchange:kraken:1.1"], "BTC/USD", "kraken BTC/USD stands apart"),
        (["lying-exchange:binance:0.5"], "ETH/USD", "binance ETH/USDT stands apart"),
        (["dead-exchange:coinbase_exchange,kraken"], "BTC/USD", "some of its sources do not count"),
        (["dead-exchange:bitstamp,okx"], "BTC/USD", "some of its sources do not count"),
        (["depeg:USDT:0.5"], "BTC/USD", "a stablecoin that it rests on has lost its peg"),
    ],
    ids=["a-usd-book-lies", "a-usdt-book-lies", "two-usd-books-die", "one-of-each-dies", "depeg"],
)
def test_prices_stay_right_and_the_status_says_what_happened(
    directory: Path, faults: list[str], feed: str, warned: str
) -> None:
    options = [option for fault in faults for option in ("--fault", fault)]
    process = start(directory, "--duration", "30", "--feeds", "8", *options)
    summary = last_line(process)
    # The audit finds each answer within ten basis points of the market's middle.
    assert summary["violations"] == []
    assert summary["ok"] is True
    warnings = summary["warnings"]
    assert isinstance(warnings, dict)
    assert warned in warnings[feed]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nodes", "duration", "personas"),
    [
        # Thirteen personas, of which two members each are one after the other.
        (7, 68, {"turncoat": 2}),
        (10, 20, {"crasher": 1, "clock-skewed": 1, "drifter": 1}),
    ],
)
def test_f_byzantine_members_break_no_promise(
    directory: Path, nodes: int, duration: int, personas: dict[str, int]
) -> None:
    faults = [f"--fault={persona}:{count}" for persona, count in personas.items()]
    process = start(directory, "--nodes", str(nodes), "--duration", str(duration), *faults)
    summary = last_line(process)
    assert summary["violations"] == []
    assert summary["ok"] is True
    assert process.returncode == 0
    assert int(str(summary["faults_injected"])) >= sum(personas.values())
    assert int(str(summary["rounds_certified"])) > 10
    offences = summary["offences_seen"]
    assert isinstance(offences, dict)
    if "turncoat" in personas:
        assert len(offences) == 2
        assert all(kinds["equivocation"] > 0 for kinds in offences.values())
    else:
        assert offences == {}


@pytest.mark.slow
def test_the_network_goes_on_through_chaos(directory: Path) -> None:
    summary = last_line(start(directory, "--duration", "30", "--fault", "chaos"))
    assert summary["violations"] == []
    assert summary["ok"] is True
    resumed = summary["resumed_ms"]
    assert isinstance(resumed, dict)
    # How fast is for whoever reads the summary: here other processes may have the cores.
    assert resumed["faults"] >= 2
    assert resumed["max"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_in_order(directory: Path, number: signal.Signals) -> None:
    process = start(directory)
    wait_for_phase(process, "running")
    time.sleep(2)
    process.send_signal(number)
    summary = last_line(process)
    assert summary["ok"] is True
    assert process.returncode == 0


@pytest.mark.slow
def test_no_process_outlives_a_killed_launcher(directory: Path) -> None:
    process = start(directory)
    wait_for_phase(process, "waiting for the first live prices")
    assert len(processes_of(directory)) >= 6
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_testnet_that_never_certified_is_not_ok(directory: Path) -> None:
    process = start(directory)
    wait_for_phase(process, "deploying")
    process.send_signal(signal.SIGTERM)
    summary = last_line(process)
    assert summary["ok"] is False
    assert process.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chain", "exchanges"])
def test_a_testnet_ends_when_what_all_need_has_died(directory: Path, name: str) -> None:
    process = start(directory, "--duration", "600")
    wait_for_phase(process, "running")
    (victim,) = (
        number
        for number, command in processes_of(directory).items()
        if f"-m testnet.{name} " in command
    )
    os.kill(victim, signal.SIGSEGV)
    summary = last_line(process)
    assert summary["ok"] is False
    assert process.returncode == 1
    assert f"the process {name} was killed by signal 11" in str(summary["violations"])


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    process = start(tmp_path, "--duration", "1")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "not empty" in json.loads(err)["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
