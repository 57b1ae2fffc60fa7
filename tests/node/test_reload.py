"""What of a changed configuration takes force at once, what waits, and what changes nothing."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from node.config import Config
from node.errors import ConfigFileError
from node.reload import CHAIN_KEYS, reload
from node.stopping import end_within

ORACLE = "0x" + "11" * 20


def config(**changes: Any) -> Config:
    document: dict[str, Any] = {
        "node": {"data_dir": "/d", "network_file": "/n", "member": "alice"},
        "keys": {
            f"{kind}{end}": f"/{kind}{end}"
            for kind in ("identity", "bls", "account")
            for end in ("", "_password_file")
        },
        "p2p": {
            "peers": [
                {"member": "bob", "address": "/ip4/127.0.0.1/tcp/1"},
                {"member": "carol", "address": "/ip4/127.0.0.1/tcp/2"},
            ]
        },
        "chains": [
            {"name": "one", "chain_id": 1, "rpc_urls": ["http://one"], "oracle": ORACLE},
            {"name": "two", "chain_id": 2, "rpc_urls": ["http://two"], "oracle": ORACLE},
        ],
    }
    return Config.model_validate(document | changes)


def chain(name: str, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "chain_id": number,
        "rpc_urls": [f"http://{name}"],
        "oracle": ORACLE,
    } | changes


def test_what_can_change_does_and_is_named() -> None:
    new = config(
        log={"level": "debug", "format": "json"},
        p2p={
            "peers": [
                {"member": "carol", "address": "/ip4/127.0.0.1/tcp/2"},
                {"member": "bob", "address": "/ip4/127.0.0.1/tcp/9"},
            ]
        },
        feeds={"endpoints": {"kraken": {"ws_url": "wss://else.where"}}},
        chains=[
            chain("two", 2),
            chain("one", 1, rpc_urls=["http://a", "http://b"], max_fee_gwei=7),
        ],
    )
    taken = reload(config(), new, {"bob", "carol"})
    assert taken.waiting == ()
    assert taken.config.log == new.log
    assert set(taken.changed) == {
        "log.level",
        "log.format",
        "p2p.peers[bob].address",
        "feeds.endpoints.kraken.ws_url",
        "chains[one].rpc_urls",
        "chains[one].max_fee_gwei",
    }
    assert [one.name for one in taken.config.chains] == ["one", "two"]
    assert taken.config.chains[0].rpc_urls == ("http://a", "http://b")
    # The same file once more changes nothing.
    assert reload(taken.config, new).changed == ()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"api": {"listen": "127.0.0.1:1"}}, "api.listen"),
        ({"node": {"data_dir": "/e", "network_file": "/n", "member": "alice"}}, "node.data_dir"),
        ({"store": {"blocks_max": 99}}, "store.blocks_max"),
        ({"p2p": {"listen": "/ip4/0.0.0.0/tcp/7"}}, "p2p.listen"),
        ({"chains": [chain("one", 5), chain("two", 2)]}, "chains[one].chain_id"),
        ({"chains": [chain("one", 1, publish=False), chain("two", 2)]}, "chains[one].publish"),
        ({"chains": [chain("one", 1)]}, "chains[two].name"),
    ],
)
def test_what_needs_a_restart_is_named_and_stays(changes: dict[str, Any], key: str) -> None:
    taken = reload(config(), config(**changes))
    assert key in taken.waiting
    old = config()
    assert taken.config.node == old.node
    assert taken.config.store == old.store
    assert taken.config.api == old.api
    assert taken.config.p2p.listen == old.p2p.listen
    for before, after in zip(old.chains, taken.config.chains, strict=True):
        assert before == after.model_copy(update={k: getattr(before, k) for k in CHAIN_KEYS})


def test_a_file_without_the_address_of_a_member_changes_nothing() -> None:
    new = config(log={"level": "debug"}, p2p={"peers": []})
    with pytest.raises(ConfigFileError) as refused:
        reload(config(), new, {"bob", "carol"})
    assert [problem.message for problem in refused.value.problems] == [
        "no address for member 'bob'",
        "no address for member 'carol'",
    ]


def test_a_process_in_which_a_thread_hangs_ends_all_the_same(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import threading, time
        from node.stopping import end_within
        threading.Thread(target=time.sleep, args=(600,), name="stuck").start()
        end_within(0.2)
        time.sleep(600)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "node_stopped_late" in done.stdout + done.stderr
    assert "stuck" in done.stdout + done.stderr


def test_a_process_that_ends_in_time_is_not_cut_off() -> None:
    program = "from node.stopping import end_within; end_within(60); print('in order')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (0, "in order\n")
    assert end_within.__defaults__ is not None
    assert end_within.__defaults__[0] < 5, "what a supervisor is promised"
