import subprocess
import sys

import pytest

NESTED = """
import sys
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
import py_ecc, msgspec
for opening in ("[", '{"a":'):
    try:
        msgspec.json.decode(opening * 200_000)
    except RecursionError:
        print("refused")
"""


@pytest.mark.parametrize(
    "modules",
    [
        ("node.daemon", "node.publisher.rpc", "node.keys.account_key"),
        ("testnet.chain.server", "testnet.chain.evm"),
        ("testnet.exchanges.simulator",),
        ("testnet.audit.case", "testnet.audit.reports"),
        ("testnet.personas",),
        ("testnet.cluster",),
    ],
)
def test_nested_json_is_an_error_and_not_the_end_of_the_process(modules: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NESTED, *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused", "refused"]
