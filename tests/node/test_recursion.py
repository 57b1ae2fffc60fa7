import subprocess
import sys

NESTED = """
import sys
import node.daemon, node.publisher.rpc, node.keys.account_key
import msgspec
assert "py_ecc" in sys.modules
for opening in ("[", '{"a":'):
    try:
        msgspec.json.decode(opening * 200_000)
    except RecursionError:
        print("refused")
"""


def test_nested_json_is_an_error_and_not_the_end_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NESTED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused", "refused"]
