"""Real processes, as operators handle them: stopping under load, reloading, a disk that fills."""

import json
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from node.journal import Signed, read_journal, require_current
from node.store import Store

ROUNDS = 4


def last_signed(data: Path) -> int:
    entries = list(read_journal(data / "journal"))  # Raises at a line that is not whole.
    return max((e.view for e in entries if isinstance(e, Signed) and e.kind == "vote"), default=0)


def check_nothing_lost(data: Path) -> None:
    """The store opens, knows all that the journal says was signed, and no line is torn."""
    assert (data / "journal" / "journal.jsonl").read_bytes().endswith(b"\n")
    signed = last_signed(data)
    with Store.open(data) as store:
        (state,) = store.safety_states()
    require_current(data / "journal", state)
    assert state.last_voted_view >= signed > 0


def events(net: Any, log: str, name: str) -> list[dict[str, Any]]:
    lines = [line for line in net.log(log).splitlines() if line.startswith("{")]
    return [event for event in map(json.loads, lines) if event.get("event") == name]


@pytest.mark.slow
def test_a_node_that_is_told_to_stop_under_load_leaves_nothing_half_written(net: Any) -> None:
    processes = [net.start(index) for index in range(4)]
    net.wait(lambda: net.view(0) > 4, "agreement")
    data = net.nodes[0].directory.path / "data"
    for number in range(ROUNDS):
        time.sleep(0.1 + 0.07 * number)
        processes[0].send_signal(signal.SIGTERM if number % 2 else signal.SIGINT)
        assert processes[0].wait(timeout=30) == 0
        check_nothing_lost(data)
        processes[0] = net.start(0)
        at = net.view(1)
        net.wait(lambda at=at: net.view(0) > at + 2, "it takes part again")
    assert len(events(net, "node0.log", "node_stopping")) == ROUNDS
    assert not events(net, "node0.log", "twin.found")


@pytest.mark.slow
def test_a_changed_file_takes_force_without_a_restart(net: Any) -> None:
    processes = [net.start(index) for index in range(4)]
    net.wait(lambda: net.view(0) > 4, "agreement")
    config = net.nodes[0].config_file
    good = config.read_text()

    def reload(text: str, event: str) -> dict[str, Any]:
        before = len(events(net, "node0.log", event))
        config.write_text(text)
        processes[0].send_signal(signal.SIGHUP)
        net.wait(lambda: len(events(net, "node0.log", event)) > before, event)
        return events(net, "node0.log", event)[-1]

    # A mistake changes nothing, however much else is right in the file.
    level = good.replace('level = "info"', 'level = "debug"')
    assert level != good
    refused = reload(level + "\n[nonsense]\na = 1\n", "reload.refused")
    assert "nonsense" in refused["reason"]
    done = reload(level, "reload.done")
    assert done["changed"] == ["log.level"]
    port = net.nodes[0].ports.api
    waiting = reload(level.replace(f":{port}", ":1"), "reload.needs_restart")
    assert waiting["keys"] == ["api.listen"]
    assert processes[0].poll() is None
    at = net.view(1)
    net.wait(lambda: net.view(0) > at + 2, "it takes part all the while")
    # One whose file is as it was is told so.
    assert reload(level, "reload.done")["changed"] == []


@pytest.mark.slow
def test_s4_a_node_whose_disk_fills_stops_and_goes_on_when_there_is_room(net: Any) -> None:
    processes = [net.start(index) for index in range(4)]
    net.wait(lambda: net.view(0) > 4, "agreement")
    data = net.nodes[0].directory.path / "data"
    journal = (data / "journal" / "journal.jsonl").stat().st_size
    limit = journal + 20_000
    resource.prlimit(processes[0].pid, resource.RLIMIT_FSIZE, (limit, limit))
    assert processes[0].wait(timeout=100) == 1
    assert "Check the disk" in net.log("node0.log") or "disk is full" in net.log("node0.log")
    at = net.view(1)
    net.wait(lambda: net.view(1) > at + 2, "the others go on")
    with Store.open(data) as store:
        (state,) = store.safety_states()
    require_current(data / "journal", state)
    net.start(0)
    at = net.view(1)
    net.wait(lambda: net.view(0) > at + 2, "it takes part again")
    for index in range(4):
        assert net.cli(index, "evidence", "list").get("evidence") == []
