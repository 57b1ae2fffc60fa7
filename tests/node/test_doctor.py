"""What `didyma doctor` finds where something is missing, and that it accuses nobody falsely."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import TypeVar

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from feeds.venues import VENUES
from node.config import ListenAddress
from node.config_file import load_config
from node.doctor import machine, world
from node.doctor.clock import agreed, clock
from node.doctor.finding import Grade
from tests.node.test_cli_commands import invoke

T = TypeVar("T")


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("doctor")
    assert invoke("init", root / "alice", "--name", "alice").exit_code == 0
    # No test leaves this machine: at port 1 nobody listens.
    endpoints = "".join(
        f'\n[feeds.endpoints.{venue}]\nws_url = "ws://127.0.0.1:1"\nrest_url = "http://127.0.0.1:1"\n'
        for venue in VENUES
    )
    config = root / "alice" / "node.toml"
    config.write_text(config.read_text() + endpoints)
    return root / "alice"


def with_server(skew_s: float, ask: Callable[[str], Awaitable[T]], kind: str = "date") -> T:
    """Run a server whose clock is wrong, or that tells none, while it is asked."""

    async def answer(_request: web.Request) -> web.Response:
        import time

        date = formatdate(time.time() + skew_s, usegmt=True)
        return web.Response(headers={"Date": date if kind == "date" else "never"})

    async def run() -> T:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            return await ask(f"http://{host}:{port}")
        finally:
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("skew_s", "grade", "word"),
    [(0, Grade.OK, "right"), (-30, Grade.FAILED, "ahead"), (30, Grade.FAILED, "behind")],
)
def test_a_clock_that_is_wrong_is_found_with_its_side(
    skew_s: float, grade: Grade, word: str
) -> None:
    finding = with_server(skew_s, lambda url: clock([url, url + "/2", url + "/3"], 500))
    assert (finding.grade, word in finding.said) == (grade, True), finding.said


def test_servers_that_tell_no_time_prove_nothing() -> None:
    finding = with_server(0, lambda url: clock([url, url + "/2"], 500), kind="none")
    assert finding.grade is Grade.SKIPPED
    assert asyncio.run(clock([], 500)).grade is Grade.SKIPPED


@given(
    st.integers(-5_000, 5_000),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=3, max_size=9),
    st.lists(st.tuples(st.integers(-9_000, 9_000), st.integers(0, 500)), max_size=2),
)
def test_the_bounds_of_the_clock_hold_the_truth_if_most_servers_do(
    truth: int, right: list[tuple[int, int]], liars: list[tuple[int, int]]
) -> None:
    bounds = [(truth - below, truth + above) for below, above in right]
    bounds += [(low, low + width) for low, width in liars]
    low, high, servers = agreed(bounds)
    assert servers >= len(right)
    assert low <= high
    if not liars:
        assert low <= truth <= high
    else:
        assert sum(a <= low and high <= b for a, b in bounds) == servers


def test_a_port_in_use_is_told_with_the_setting_that_names_it(alice: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = load_config(alice / "node.toml")
        api = config.api.model_copy(update={"listen": ListenAddress("127.0.0.1", port)})
        found = list(machine.ports(config.model_copy(update={"api": api}), running=False))
    failures = [one for one in found if one.grade is Grade.FAILED and one.topic == "api.listen"]
    assert len(failures) == 1
    assert "change api.listen" in failures[0].remedy


def test_a_data_directory_that_others_can_read_is_told(alice: Path) -> None:
    config = load_config(alice / "node.toml")
    config.node.data_dir.mkdir(mode=0o700, exist_ok=True)
    grades = {one.topic: one.grade for one in machine.data_directory(config)}
    assert grades["data directory"] is Grade.OK
    config.node.data_dir.chmod(0o755)
    try:
        first = next(machine.data_directory(config))
    finally:
        config.node.data_dir.chmod(0o700)
    assert (first.grade, first.remedy) == (Grade.WARNING, f"chmod 700 {config.node.data_dir}")
    assert not list(config.node.data_dir.glob(".doctor*"))


def test_what_is_no_node_at_a_member_s_address_is_not_taken_for_one(alice: Path) -> None:
    async def ask(url: str) -> list[tuple[str, Grade, str]]:
        port = url.rpartition(":")[2]
        peer = {"member": "bob", "address": f"/ip4/127.0.0.1/tcp/{port}"}
        config = load_config(alice / "node.toml")
        p2p = type(config.p2p).model_validate({"listen": config.p2p.listen, "peers": [peer]})
        found = await world.members(config.model_copy(update={"p2p": p2p}), "alice")
        return [(one.topic, one.grade, one.said) for one in found]

    ((topic, grade, said),) = with_server(0, ask)
    assert (topic, grade) == ("member bob", Grade.FAILED)
    assert "no libp2p node" in said


def test_the_command_ends_with_status_1_and_one_document_when_something_failed(
    alice: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node.cli", "doctor", "-c", str(alice / "node.toml"), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert not document["ok"]
    missing = [one for one in document["findings"] if one["topic"] == "node.network_file"]
    assert missing
    assert "network.json" in missing[0]["said"]
    assert document["failed"] == sum(one["grade"] == "failed" for one in document["findings"])
