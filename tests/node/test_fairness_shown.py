"""The accounts of fairness as operators see them: over HTTP, in the terminal, as metrics."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest

from consensus.committee import faulty_max, quorum
from node.api.documents import fairness_document, full_status
from node.api.view import CommitteeView, Identity, MemberView, NodeView, ViewCell
from node.api.view_metrics import ViewCollector
from node.cli import main
from node.fairness.accounts import FairnessAccounts

NAMES = ("alice", "bob", "carol", "dave")
FEEDS = ("BTC/USD",)
TURNS = 60


def accounts_of(n: int, me: int, leader: int, censored: int) -> FairnessAccounts:
    """Return what a node sees when a leader always leaves a member out."""
    accounts = FairnessAccounts(
        n,
        faulty_max(n),
        quorum(n),
        me,
        small=n <= 10,
        grace_ms=50,
        prices_of=lambda body: [int(body)],
    )
    for view in range(1, TURNS * n + 1):
        accounts.entered(view, False, 250 * view)
        accounts.sent(view)
        bodies = [str(1_000_000 + 10 * member).encode() for member in range(n)]
        for member, body in enumerate(bodies):
            accounts.heard(view, member, body, 250 * view + 3)
        block_id = b"%d" % view
        accounts.proposed(view, block_id, 250 * view + 55)
        missing = censored if view % n == leader else None
        taken = [(member, body) for member, body in enumerate(bodies) if member != missing]
        accounts.committed(view, block_id, view % n, taken)
    return accounts


def node_view(accounts: FairnessAccounts | None, names: tuple[str, ...] = NAMES) -> NodeView:
    members = tuple(MemberView(name, i, "aa", "bb", "0xcc") for i, name in enumerate(names))
    return NodeView(
        made_at_ns=time.monotonic_ns(),
        identity=Identity("0.1.0", "test", "0x11", "0x22", "alice", 0, "ab" * 16, 5),
        committee=CommitteeView(0, "0x33", 2**50, 1, 3, names, members),
        view=7,
        height=5,
        rounds_certified=6,
        rounds_committed=5,
        timeouts=1,
        latest=None,
        fairness=None if accounts is None else accounts.view(names, FEEDS),
    )


def through_json(document: object) -> Any:
    return json.loads(msgspec.json.encode(document))


@pytest.fixture(scope="module")
def view() -> NodeView:
    return node_view(accounts_of(4, 0, leader=2, censored=3))


def test_the_document_holds_every_pair_and_the_prices_that_were_bent(view: NodeView) -> None:
    document = through_json(fairness_document(view))
    leaders = {leader["leader"]: leader for leader in document["leaders"]}
    assert leaders["carol"]["turns"] == TURNS
    pairs = {pair["member"]: pair for pair in leaders["carol"]["pairs"]}
    assert (pairs["dave"]["included"], pairs["dave"]["omitted"]) == (0, TURNS)
    assert (pairs["dave"]["inclusion_ppm"], pairs["dave"]["score_ppm"]) == (0, 1_000_000)
    assert (pairs["bob"]["inclusion_ppm"], pairs["bob"]["score_ppm"]) == (1_000_000, 0)
    [feed] = leaders["carol"]["feeds"]
    # Dave is the highest, so without him the price stays at the low median, never above it.
    assert (feed["feed"], feed["choices"], feed["lower"]) == ("BTC/USD", TURNS, TURNS)
    assert feed["shift_mean_ppm"] == 0
    assert leaders["bob"]["feeds"] == []
    assert {alarm["kind"] for alarm in document["alarms"]} == {"left_out", "price_bias"}
    assert document["alarms_raised"]["left_out"] == 1
    status = through_json(full_status(view, None, [], 0))
    assert [alarm["leader"] for alarm in status["fairness_alarms"]] == ["carol", "carol"]


def test_a_node_that_knows_nothing_yet_says_so() -> None:
    document = through_json(fairness_document(node_view(None)))
    assert document["leaders"] == []
    fresh = FairnessAccounts(4, 1, 3, 0, small=True, grace_ms=50, prices_of=lambda _: [])
    document = through_json(fairness_document(node_view(fresh)))
    assert all(p["inclusion_ppm"] is None for row in document["leaders"] for p in row["pairs"])


def exposition(view: NodeView) -> str:
    registry, cell = CollectorRegistry(), ViewCell()
    registry.register(ViewCollector(cell))
    cell.swap(view)
    return generate_latest(registry).decode()


def test_metrics_say_what_the_document_says(view: NodeView) -> None:
    text = exposition(view)
    for line in (
        'didyma_fairness_inclusion_ppm{leader="carol",member="dave"} 0.0',
        'didyma_fairness_inclusion_ppm{leader="carol",member="bob"} 1e+06',
        'didyma_fairness_left_out_score_ppm{leader="carol",member="dave"} 1e+06',
        'didyma_fairness_active_alarms{kind="left_out"} 1.0',
        'didyma_fairness_active_alarms{kind="own_left_out"} 0.0',
        'didyma_fairness_raised_alarms_total{kind="left_out"} 1.0',
        'didyma_fairness_price_score_ppm{leader="carol"} 1e+06',
        'didyma_fairness_price_score_ppm{leader="bob"} 0.0',
        'didyma_fairness_member_inclusion_ppm{member="dave"} 750000.0',
        'didyma_fairness_leader_observations_per_block_number{leader="carol"} 3.0',
    ):
        assert line in text, line


def test_the_number_of_metrics_grows_with_members_not_with_pairs_in_large_committees() -> None:
    names = tuple(f"m{i}" for i in range(31))
    text = exposition(node_view(accounts_of(31, 0, leader=2, censored=0), names))
    series = [line for line in text.splitlines() if line.startswith("didyma_fairness_")]
    assert len(series) < 7 * 31
    assert 'didyma_fairness_left_out_score_ppm{leader="m2",member="m0"} 1e+06' in text


class _Node(BaseHTTPRequestHandler):
    answers: dict[str, bytes]

    def do_GET(self) -> None:
        content = self.answers[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Node) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, fairness: object, *options: str) -> str:
    handover = {"epoch": 0, "members": list(NAMES), "candidates": []}
    _Node.answers = {
        "/v1/handover": json.dumps(handover).encode(),
        "/v1/fairness": msgspec.json.encode(fairness),
    }
    return CliRunner().invoke(main, ["committee", "status", "--url", url, *options]).output


def test_the_committees_status_has_a_table_for_people(url: str, view: NodeView) -> None:
    lines = [line.split() for line in ask(url, fairness_document(view)).splitlines()]
    assert ["leader", "turns", *NAMES] in lines
    hundred = ["100.0", "%"]
    assert ["carol", str(TURNS), *hundred, *hundred, "-", "0.0", "%"] in lines
    assert ["bob", str(TURNS), *hundred, "-", *hundred, *hundred] in lines
    alarms = [line for line in lines if line[:1] == ["ALARM"]]
    assert [line[1] for line in alarms] == ["left_out:", "price_bias:"]


def test_the_committees_status_is_one_document_for_programs(url: str, view: NodeView) -> None:
    document = json.loads(ask(url, fairness_document(view), "--json"))
    assert document["epoch"] == 0
    assert document["fairness"]["alarms"][0]["kind"] == "left_out"


def test_the_table_of_a_large_committee_has_no_pairs(url: str) -> None:
    names = tuple(f"m{i}" for i in range(13))
    view = node_view(accounts_of(13, 0, leader=2, censored=0), names)
    text = ask(url, fairness_document(view))
    assert "ALARM own_left_out: my observations are left out by m2" in text
    assert ["m2", str(TURNS), "12.0", "0.0", "%"] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("answer", [[], {"alarms": 1}, {"judges_all": True, "leaders": [{}]}])
def test_an_answer_that_is_no_account_is_refused(url: str, answer: object) -> None:
    text = ask(url, answer)
    assert "not readable" in text
    assert "Traceback" not in text


def test_a_name_cannot_steer_the_terminal(url: str) -> None:
    names = ("alice", "bob", "ca\x1b[2Jrol", "dave")
    view = node_view(accounts_of(4, 0, leader=2, censored=3), names)
    assert "\x1b" not in ask(url, fairness_document(view))
