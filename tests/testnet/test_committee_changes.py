"""Real processes: a committee that changes while it runs, as its operators would change it."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from contracts import client
from node import epoch_file
from node.cli.node_client import get, post
from node.config import ChainSection, EndpointSection, PeerSection
from node.journal import Certified, Entry, HandedOver, Persisted, Signed, read_journal
from node.network_file import load
from node.node_directory import create_node_directory, write_config
from node.registration import MemberRecord, register
from testnet.audit.epochs import epoch_cases
from testnet.audit.verdict import judge as judge_case
from testnet.deployment import (
    KEY_ITERATIONS,
    PORTS_PER_NODE,
    MemberNode,
    NodePorts,
    make_network,
)
from testnet.manifest import ChainEntry, Manifest
from testnet.oracle_deployment import Deployer
from testnet.ports import free_ports
from testnet.rpc_client import RpcClient

PATIENCE_S = 120
COMMAND = [sys.executable, "-P", "-m", "node.cli"]
NAMES = ("alice", "bob", "carol", "dave", "eve", "frank", "grace")
DOCUMENT = Path(__file__).parents[2] / "docs" / "committee.md"
UNPRICED_MAX = 4
"""So many rounds without a report a change may cost."""
NO_ROOT = bytes(32).hex()
FRESH_S = 20
"""What the Oracle of these nodes holds is never older."""


@dataclass
class Net:
    """Seven operators' directories and their processes."""

    directory: Path
    nodes: list[MemberNode]
    processes: dict[int, "subprocess.Popen[bytes]"]
    stack: ExitStack
    manifest: Manifest
    rpc_url: str
    oracle: bytes

    def start(self, index: int) -> None:
        log = self.stack.enter_context((self.directory / f"{NAMES[index]}.log").open("ab"))
        config = str(self.nodes[index].config_file)
        self.processes[index] = subprocess.Popen(
            [*COMMAND, "run", "--config", config], stdout=log, stderr=log
        )

    def shell(self, line: str) -> str:
        """Run a line of the document in the directory; return what it printed."""
        didyma = shlex.join(COMMAND)
        line = re.sub(r"^didyma\b", lambda _: didyma, line)
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.directory, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    def control(self, index: int) -> str:
        return f"http://127.0.0.1:{self.nodes[index].ports.control}"

    def registration(self, index: int) -> MemberRecord:
        return register(NAMES[index], self.nodes[index].directory.keys)

    def candidates(self, index: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get(self.control(index), "/v1/handover", 5)["candidates"]
        return found

    def approvals(self, index: int) -> int | None:
        """Return the approvals that a member has heard of, None if it knows of no candidate."""
        found = self.candidates(index)
        return len(found[0]["approved_by"]) if found else None

    def status(self, index: int) -> dict[str, Any]:
        try:
            url = f"http://127.0.0.1:{self.nodes[index].ports.control}/v1/status"
            with urlopen(url, timeout=2) as answer:
                status: dict[str, Any] = json.load(answer)
                return status
        except OSError:
            return {}

    def certifies(self, index: int, epoch: int) -> bool:
        latest = self.status(index).get("latest") or {}
        return latest.get("epoch") == epoch and int(latest.get("view", 0)) >= 3

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.1)

    def ask_oracle(self, calldata: bytes) -> bytes:
        async def ask() -> bytes:
            async with RpcClient(self.rpc_url) as rpc:
                return await rpc.call(self.oracle, calldata)

        return asyncio.run(ask())

    def oracle_is_fed(self, epoch: int) -> bool:
        """Tell whether the Oracle is in an epoch and has fresh prices certified in it."""
        place = client.decode_stored(self.ask_oracle(client.encode_getter("stored")))
        if (place.epoch, place.view > 0) != (epoch, True):
            return False
        feeds = client.decode_integer(self.ask_oracle(client.encode_getter("feedCount")))
        reads = [self.ask_oracle(client.encode_try_read(i, FRESH_S, 50_000)) for i in range(feeds)]
        return all(client.decode_try_read(read)[0] is client.Reason.NONE for read in reads)

    def journal(self, index: int) -> list[Entry]:
        return list(read_journal(self.nodes[index].directory.path / "data" / "journal"))


def market_of(now_ms: int) -> tuple[str, ...]:
    return "--seed", "3", "--origin-ms", str(now_ms)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with ExitStack() as stack:
        now_ms = time.time_ns() // 1_000_000
        exchanges = subprocess.Popen(
            [sys.executable, "-P", "-m", "testnet.exchanges", *market_of(now_ms)],
            stdout=subprocess.PIPE,
        )
        stack.callback(exchanges.kill)
        assert exchanges.stdout is not None
        market = json.loads(exchanges.stdout.readline())
        deployer = Deployer()
        ports = free_ports(7 * PORTS_PER_NODE)
        ports_first = ports[: 4 * PORTS_PER_NODE]
        deployment = make_network(tmp_path, ports_first, rate=4, now_ms=now_ms, names=NAMES[:4])
        nodes = list(deployment.members)
        for index in range(4, 7):
            name = NAMES[index]
            made = create_node_directory(tmp_path / name, name, iterations=KEY_ITERATIONS)
            (made.path / "network.json").write_bytes((tmp_path / "network.json").read_bytes())
            first = ports[index * PORTS_PER_NODE]
            mine = NodePorts(*range(first, first + PORTS_PER_NODE))
            nodes.append(MemberNode(index, name, made, mine))
        funded = ["0x" + a.hex() for a in (deployer.address, *(node.operator for node in nodes))]
        chain = subprocess.Popen(
            [sys.executable, "-P", "-m", "testnet.chain", "--fund", ",".join(funded)],
            stdout=subprocess.PIPE,
        )
        stack.callback(chain.kill)
        assert chain.stdout is not None
        announced = json.loads(chain.stdout.readline())
        section = ChainSection(
            name="embedded",
            chain_id=announced["chain_id"],
            rpc_urls=(announced["rpc_url"],),
            oracle=deployer.contract,
        )

        async def deploy() -> None:
            async with RpcClient(announced["rpc_url"]) as rpc:
                await deployer.deploy(rpc, deployment.network)

        asyncio.run(deploy())
        for node in nodes:
            settings = replace(
                node.directory.settings,
                p2p_listen=f"/ip4/127.0.0.1/tcp/{node.ports.p2p}",
                peers=[
                    PeerSection(member=other.name, address=f"/ip4/127.0.0.1/tcp/{other.ports.p2p}")
                    for other in nodes
                    if other is not node
                ],
                endpoints={
                    venue: EndpointSection(ws_url=urls["ws_url"], rest_url=urls["rest_url"])
                    for venue, urls in market["venues"].items()
                },
                chains=[section],
                api_listen=f"127.0.0.1:{node.ports.api}",
                control_listen=f"127.0.0.1:{node.ports.control}",
                metrics_listen=f"127.0.0.1:{node.ports.metrics}",
            )
            write_config(node.directory, settings)
        manifest = Manifest(
            seed=3,
            origin_ms=now_ms,
            start_minute=market["start_minute"],
            members=(),
            chain=ChainEntry(section.name, section.chain_id, "0x" + deployer.contract.hex()),
        )
        rpc_url = announced["rpc_url"]
        net = Net(tmp_path, nodes, {}, stack, manifest, rpc_url, deployer.contract)
        try:
            yield net
        finally:
            for process in (*net.processes.values(), exchanges, chain):
                process.kill()
                process.wait()
            exchanges.stdout.close()
            chain.stdout.close()


def lines_of(document: str) -> list[str]:
    """Return the commands of a document, in their order."""
    blocks = re.findall(r"```console\n(.*?)```", document, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.strip().splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


def follow_the_document(net: Net) -> Path:
    """Do what docs/committee.md says, word by word; return the new configuration."""
    out = net.directory / "next.json"
    seen = ""
    approvals = 0
    for line in lines_of(DOCUMENT.read_text()):
        name = next((name for name in NAMES if f"--config {name}/" in line), NAMES[0])
        index = NAMES.index(name)
        if line.startswith("didyma run"):
            net.start(index)
            continue
        if line.startswith("didyma committee approve"):
            # What it prints counts the approvals that it has heard of: let those before arrive.
            net.wait(
                lambda i=index, a=approvals: net.approvals(i) == a,  # type: ignore[misc]
                f"{name} never heard of the {approvals} approvals before its own",
            )
            approvals += 1
        if line.startswith("didyma status"):
            net.wait(lambda i=index: net.certifies(i, 1), "the change was not decided")  # type: ignore[misc]
        seen += net.shell(line)
    for said in ("Approved; 2 more are needed.", "Approved; a quorum approves", "Valid: view "):
        assert said in seen
    assert "of epoch 1 of testnet" in seen
    return out


def change(
    net: Net, base: Path, *, add: Sequence[int], remove: Sequence[int], approvers: Sequence[int]
) -> Path:
    """Do to the committee what its operators would do, without their command line."""
    office = epoch_file.load(base)
    gone = {NAMES[index] for index in remove}
    file = replace(
        office,
        epoch=office.epoch + 1,
        valid_until_ms=office.valid_until_ms + 1,
        members=(
            *(member for member in office.members if member.name not in gone),
            *(
                replace(register(NAMES[i], net.nodes[i].directory.keys), registration=None)
                for i in add
            ),
        ),
    )
    for index in add:
        bls = net.nodes[index].directory.keys.bls
        assert bls is not None
        file = epoch_file.sign(file, bls)
    out = net.directory / f"epoch{file.epoch}.json"
    epoch_file.save(out, file)
    for index in add:
        config = net.nodes[index].config_file
        text = config.read_text()
        config.write_text(text.replace('# epoch_file = "next.json"', f'epoch_file = "{out}"'))
        net.start(index)
    # The next quorum may need them: without them there would be no rounds until they run.
    net.wait(lambda: all(net.status(index) for index in add), "the newcomers never ran")
    post(net.control(approvers[0]), "/v1/handover/propose", epoch_file.encode(file))
    approval = json.dumps({"configuration": "0x" + file.configuration.hash.hex()}).encode()
    for index in approvers:
        net.wait(lambda i=index: bool(net.candidates(i)), f"{NAMES[index]} never heard of it")  # type: ignore[misc]
        post(net.control(index), "/v1/handover/approve", approval)
    return out


@pytest.mark.slow
def test_a_committee_grows_from_four_to_five_to_seven_and_shrinks_to_four(net: Net) -> None:
    for index in range(4):
        net.start(index)
    base = net.directory / "network.json"
    members = set(range(4))
    net.wait(lambda: all(net.certifies(i, 0) for i in members), "the first epoch never began")
    net.wait(lambda: net.oracle_is_fed(0), "no report came to the chain")
    steps = (((4,), ()), ((5, 6), ()), ((), (0, 1, 2)))
    for epoch, (add, remove) in enumerate(steps, start=1):
        sitting = sorted(members)
        quorum = (len(members) + (len(members) - 1) // 3) // 2 + 1
        # The second change happens while a member, the newest, is away.
        away = {4} if epoch == 2 else set()
        for index in away:
            net.processes[index].kill()
            net.processes[index].wait()
        if epoch == 1:
            base = follow_the_document(net)
        else:
            base = change(net, base, add=add, remove=remove, approvers=sitting[:quorum])
        members = (members | set(add)) - set(remove)
        net.wait(
            lambda e=epoch, m=members - away: all(net.certifies(i, e) for i in m),  # type: ignore[misc]
            f"epoch {epoch} never began",
        )
        net.wait(
            lambda e=epoch: net.oracle_is_fed(e),  # type: ignore[misc]
            f"the Oracle did not come to epoch {epoch} with fresh prices",
        )
        for index in away:
            net.start(index)
            net.wait(
                lambda e=epoch, i=index: net.certifies(i, e),  # type: ignore[misc]
                f"{NAMES[index]} did not follow to epoch {epoch}",
            )
    # Members that were removed stop by themselves, without a fault.
    for index in (0, 1, 2):
        assert net.processes[index].wait(60) == 0
    # One that is restarted goes on in the epoch it was in.
    net.processes[3].terminate()
    assert net.processes[3].wait(30) == 0
    net.start(3)
    net.wait(lambda: net.certifies(3, 3), "a restarted member did not come back")
    for process in net.processes.values():
        process.terminate()
    for process in net.processes.values():
        assert process.wait(30) == 0
    judge(net)


def judge(net: Net) -> None:
    """See that each epoch ended in one way, that nothing was signed after, and how long it took."""
    for name in NAMES:
        assert "member dropped" not in (net.directory / f"{name}.log").read_text(), name
    endings: dict[str, set[tuple[str, str]]] = {}
    certified: dict[str, dict[int, Certified]] = {}
    after: dict[str, HandedOver] = {}
    for node in net.nodes:
        closed: set[str] = set()
        for entry in net.journal(node.index):
            if isinstance(entry, HandedOver):
                endings.setdefault(entry.domain, set()).add((entry.next_domain, entry.deciding_id))
                after[entry.domain] = entry
                closed.add(entry.domain)
            elif isinstance(entry, Persisted) and entry.closed:
                closed.add(entry.domain)
            elif isinstance(entry, Signed) and entry.domain in closed:
                assert entry.kind == "handover"
            elif isinstance(entry, Certified):
                known = certified.setdefault(entry.domain, {}).setdefault(entry.view, entry)
                assert known.id == entry.id
    data = [node.directory.path / "data" for node in net.nodes]
    cases = epoch_cases(net.manifest, load(net.directory / "network.json"), data)
    assert [len(case.members) for case in cases] == [4, 5, 7, 4]
    for case in cases:
        verdict = judge_case(case)
        assert verdict.ok, verdict.violations
        assert verdict.reports_checked > 3
    assert len(endings) == 3
    assert all(len(how) == 1 for how in endings.values())
    for domain, ending in after.items():
        unpriced = [e for e in certified[domain].values() if e.view > ending.deciding_view]
        assert all(e.header.feed_root == NO_ROOT and not e.words for e in unpriced)
        priced = [e for e in certified[domain].values() if e.view <= ending.deciding_view]
        assert all(e.header.feed_root != NO_ROOT for e in priced)
        first = min(certified[ending.next_domain].values(), key=lambda e: e.view)
        assert first.header.observed_at_ms > ending.observed_at_ms
        cost = len(unpriced) + first.view - 1
        assert cost <= UNPRICED_MAX
        gap_ms = first.header.observed_at_ms - ending.observed_at_ms
        print(
            f"to epoch {ending.epoch}: {cost} rounds without a report, {len(unpriced)} of them "
            f"of that epoch; {gap_ms} ms from one report to the next"
        )
