"""What a developer does on a testnet of real nodes: paste what it prints, use every path."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account

from contracts.client import Reason
from contracts.epochs import MemberProof
from contracts.node_api import CertifiedReport, NodeApi
from contracts.oracle_client import Oracle, deploy
from contracts.rpc import HttpRpc
from contracts.transactions import LocalAccount, Sender
from node.network_file import load
from testnet.developer import PRIVATE_KEY, developer_address

ROOT = Path(__file__).parents[2]
PATIENCE_S = 420
AGE = {"max_age_s": 60, "max_confidence_ppm": 50_000}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Running:
    """A testnet at work, and what it told a developer."""

    kind: str
    directory: Path
    told: list[str]

    def told_command(self, begin: str) -> str:
        (line,) = [line for line in self.told if line.startswith(begin)]
        return line

    def option(self, name: str) -> str:
        line = self.told_command(".venv/bin/python docs/")
        words = shlex.split(line)
        return words[words.index(name) + 1]


@pytest.fixture(scope="module", params=["embedded", "anvil"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    if request.param == "anvil" and not (shutil.which("npm") or os.environ.get("DIDYMA_ANVIL")):
        pytest.skip("anvil comes from npm, which is not installed")
    directory = tmp_path_factory.mktemp(request.param) / "net"
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "node.cli", "testnet"),
            *("--chain", request.param, "--dir", str(directory), "--seed", "5"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    told: list[str] = []
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        for line in process.stdout:
            told.append(line.strip())
            assert time.monotonic() < deadline
            if line.startswith("# the network file"):
                break
        else:
            pytest.fail("\n".join(told))
        yield Running(request.param, directory, told)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=180)
        assert process.returncode == 0, rest
    finally:
        process.kill()
        process.wait()


@pytest.mark.checkout
def test_what_the_testnet_prints_can_be_pasted(running: Running) -> None:
    outputs = {}
    oracle = ".venv/bin/didyma oracle"
    for begin in (
        f"{oracle} feeds",
        f"{oracle} read",
        ".venv/bin/python",
    ):
        command = running.told_command(begin)
        command = command.replace(".venv/bin/python", sys.executable)
        command = command.replace(".venv/bin/didyma", f"{sys.executable} -P -m node.cli")
        done = subprocess.run(
            shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outputs[begin] = done.stdout
    assert re.fullmatch(r"BTC/USD [0-9]+\.[0-9]+\n", outputs[f"{oracle} read"])
    example = outputs[".venv/bin/python"]
    assert re.search(r"^BTC/USD is [0-9.]+$", example, re.MULTILINE)
    for path in ("push", "post", "prove", "update", "use, at"):
        assert re.search(rf"^{path}.*: ", example, re.MULTILINE), example
    if shutil.which("curl"):
        for line in running.told:
            if line.startswith("curl"):
                done = subprocess.run(
                    ["bash", "-c", line], capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0
                assert '"error"' not in done.stdout
                assert '"result"' in done.stdout or '"encoded_update"' in done.stdout


@pytest.mark.checkout
def test_the_readme_s_python_runs(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "contracts" / "README.md").read_text("utf-8")
    (text,) = re.findall(r"```python\n(from contracts.*?)```", readme, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(text, "README.md", "exec"), names)  # noqa: S102
    bitcoin = names["bitcoin"]
    assert callable(bitcoin)
    asyncio.run(bitcoin(*(running.option(f"--{name}") for name in ("rpc", "oracle", "node"))))
    assert re.search(r"newest: [0-9]+\.[0-9]+", capsys.readouterr().out)


@pytest.mark.parametrize("unlocked", [False, True])
def test_deployment_and_every_path_with_certificates_of_real_nodes(
    running: Running, unlocked: bool
) -> None:
    if unlocked and running.kind != "anvil":
        pytest.skip("only anvil unlocks accounts")
    network = load(running.directory / "network.json")
    local: LocalAccount = Account.from_key(PRIVATE_KEY)
    account = developer_address() if unlocked else local

    async def newer(node: NodeApi, than: CertifiedReport | None) -> CertifiedReport:
        async with asyncio.timeout(60):
            while True:
                report = await node.latest()
                if than is None or report.observed_at_ms > than.observed_at_ms:
                    return report
                await asyncio.sleep(0.1)

    async def main() -> None:
        async with (
            HttpRpc(running.option("--rpc")) as rpc,
            NodeApi(running.option("--node")) as node,
        ):
            if unlocked:
                await rpc("anvil_impersonateAccount", ["0x" + developer_address().hex()])
            address = await deploy(
                Sender(rpc, account),
                name=network.name,
                configuration=network.configuration,
                feed_table=network.table,
                proofs=[
                    MemberProof(member.proof_of_possession, member.registration or b"")
                    for member in network.members
                ],
                max_future_ms=3_000,
            )
            oracle = Oracle(rpc, address, account=account)
            assert await oracle.network() == network.network
            pairs = [f"{feed.base}/{feed.quote}" for feed in await oracle.feeds()]
            assert pairs == [feed.pair for feed in network.table.feeds]

            async def holds(report: CertifiedReport, *feeds: str) -> None:
                stated = {answer.feed: answer for answer in report.answers}
                for feed in feeds:
                    held = await oracle.latest(feed)
                    assert (held.price, held.status) == (stated[feed].price, stated[feed].status)
                    assert held.observed_at_ms == report.observed_at_ms
                    reason, _ = await oracle.try_read(feed, **AGE)
                    assert reason is Reason.NONE

            pushed = await newer(node, None)
            assert (await oracle.push(pushed)).stored
            await holds(pushed, *pairs)
            assert (await oracle.read(pairs[0], **AGE)).decimal > 0
            posted = await newer(node, pushed)
            assert (await oracle.post(posted)).stored
            await holds(pushed, pairs[0])
            assert (await oracle.prove(posted, pairs[0])).stored
            await holds(posted, pairs[0])
            updated = await newer(node, posted)
            assert (await oracle.update(updated, pairs[1])).stored
            await holds(updated, *pairs[:2])
            used = await newer(node, updated)
            done, prices = await oracle.use(used, *pairs, **AGE)
            assert done.stored
            assert [price.price for price in prices] == [one.price for one in used.answers]
            await holds(used, *pairs)

    asyncio.run(main())
