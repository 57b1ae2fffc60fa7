"""What an operator asks of a running member about the next epoch."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from click.testing import CliRunner, Result

from consensus import messages as wire
from node import epoch_file, network_file
from node.api.server import ApiServer, Listeners
from node.api.view import ViewCell
from node.candidates import (
    Candidates,
)
from node.cli import main
from node.epoch_history import EpochHistory, decode_page
from node.handover_control import HandoverControl
from node.keys.key_set import generate_keys
from node.metrics import Metrics
from node.registration import register
from node.store import ArchiveReader, Store


@pytest.fixture
def control(chain: Any, tmp_path: Path) -> Iterator[tuple[str, str, Candidates]]:
    """The control listener of member 0 in the last epoch of the chain, and what it knows."""
    world = chain.worlds[-1]
    ready, stop = threading.Event(), threading.Event()
    at: list[str] = []
    with Store.create(tmp_path / "data") as store:
        candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
        server = ApiServer(
            cell=ViewCell(),
            archive=ArchiveReader(tmp_path / "data"),
            network_file=network_file.encode(chain.network),
            metrics=Metrics(process=False),
            epochs=EpochHistory(chain.epochs, chain.store(tmp_path / "chain")),
            handover=HandoverControl(lambda: (world.epoch, candidates)),
        )

        async def serve() -> None:
            local = ("127.0.0.1", 0)
            listening = await server.start(Listeners(api=local, control=local))
            for listener in (listening.control, listening.api):
                assert listener is not None
                at.append(f"http://127.0.0.1:{listener[1]}")
            ready.set()
            await asyncio.to_thread(stop.wait)
            await server.stop()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        assert ready.wait(30)
        try:
            yield at[0], at[1], candidates
        finally:
            stop.set()
            thread.join()


def didyma(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_an_operator_proposes_looks_and_approves(
    chain: Any, control: tuple[str, str, Candidates], tmp_path: Path
) -> None:
    world = chain.worlds[-1]
    url, _, candidates = control
    path = tmp_path / "next.json"
    file = world.next_file()
    epoch_file.save(path, file)
    hash_ = "0x" + file.configuration.hash.hex()
    refused = didyma("committee", "approve", hash_, "--url", url).stderr
    assert "nobody proposes" in refused
    assert refused.count("`didyma committee status`") == 1
    assert didyma("committee", "propose", path, "--url", url).exit_code == 0
    shown = didyma("committee", "status", "--url", url, "--json")
    assert shown.exit_code == 0, shown.stderr
    seen = json.loads(shown.stdout)
    assert seen["epoch"] == 2
    (candidate,) = seen["candidates"]
    assert candidate["configuration"] == hash_
    assert candidate["timing_changed"] == {}
    assert candidate["approvals_missing"] == 3
    first = didyma("committee", "approve", path, "--url", url)
    assert first.exit_code == 0, first.stderr
    assert "2 more are needed" in first.stdout
    again = didyma("committee", "approve", hash_, "--url", url, "--json")
    assert json.loads(again.stdout)["approved_by"] == [world.epoch.member_names[0]]
    for member in (1, 2):
        document = epoch_file.to_document(file)
        share = world.bls(member).sign(candidates.digest(document))
        candidates.take(member, wire.Candidate(document, share))
    done = didyma("committee", "approve", path, "--url", url)
    assert "a quorum approves" in done.stdout


def test_each_mistake_of_an_operator_is_named(
    chain: Any, control: tuple[str, str, Candidates], tmp_path: Path
) -> None:
    world = chain.worlds[-1]
    url, _, candidates = control
    file = world.next_file()
    stranger = replace(register("new", generate_keys()), registration=None)
    for number, (wrong, code, reason) in enumerate(
        (
            (replace(file, epoch=2), 1, "of epoch 2, the next is 3: make it from the one in"),
            (replace(file, network=b"o" * 32), 3, "'node.': the registration was not signed"),
            (replace(file, members=(*file.members, stranger)), 3, "'new': it has not signed"),
            (replace(file, valid_until_ms=1), 1, "more --valid-days"),
            (
                replace(file, members=(replace(file.members[0], name="other"), *file.members[1:])),
                1,
                "keeps its name",
            ),
        )
    ):
        path = tmp_path / f"{number}.json"
        epoch_file.save(path, wrong)
        result = didyma("committee", "propose", path, "--url", url)
        assert result.exit_code == code, result.stderr
        assert re.search(reason, result.stderr), result.stderr
    assert candidates.own() is None
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(epoch_file.encode(file).replace(b"node", b"edon"))
    network = tmp_path / "network.json"
    network_file.save(network, chain.network)
    nowhere = "http://127.0.0.1:1"
    for arguments, code, reason in (
        (("propose", tmp_path / "absent.json", "--url", url), 3, "does not exist"),
        (("propose", network, "--url", url), 3, "is a committee file"),
        (("approve", "0x12", "--url", url), 2, "neither a hash"),
        (("approve", "0x" + 64 * "0", "--url", url), 1, "nobody proposes"),
        (("status", "--url", nowhere), 4, "is the node running"),
        (("create", "--base", network, "--remove", "zoe"), 3, "its members are node0, node1"),
        (("create", "--base", damaged.with_name("0.json"), "--out", network), 3, "exists"),
        (("create", "--base", tmp_path / "absent.json"), 3, "does not exist"),
        (("show", tmp_path), 2, "is a directory"),
    ):
        result = didyma("committee", *arguments)
        assert reason in result.stderr, result.stderr
        assert result.exit_code == code, (arguments, result.stderr)


def test_the_history_is_fetched_checked_and_kept(
    chain: Any, control: tuple[str, str, Candidates], tmp_path: Path
) -> None:
    _, url, _ = control
    network, out = tmp_path / "network.json", tmp_path / "epochs.json"
    network_file.save(network, chain.network)
    shown = didyma(
        "committee", "history", "--network", network, "--url", url, "--out", out, "--json"
    )
    assert shown.exit_code == 0, shown.stderr
    rows = json.loads(shown.stdout)["epochs"]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert rows[2]["members"] == list(chain.epochs[2].member_names)
    report = tmp_path / "report.json"
    report.write_bytes(chain.report(2))
    for source in (("--epochs", out), ("--url", url)):
        verified = didyma("reports", "verify", report, "--network", network, *source)
        assert verified.exit_code == 0, verified.stderr
    with urlopen(f"{url}/v1/epochs?from=1") as answer:
        assert [entry.epoch for entry in decode_page(answer.read()).epochs] == [1, 2]
    for query, status in (("from=3", 404), ("from=-1", 400), ("from=x", 400), ("to=1", 400)):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{url}/v1/epochs?{query}")
        assert refused.value.code == status
        refused.value.close()
