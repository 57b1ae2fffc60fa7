import json
import os
import stat
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.store import Store

PROGRAM = [sys.executable, "-m", "node.cli"]


def invoke(*arguments: str | Path, environ: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four operators' directories, as `didyma init` makes them."""
    root = tmp_path_factory.mktemp("operators")
    for name in ("alice", "bob", "carol", "dave"):
        assert invoke("init", root / name, "--name", name).exit_code == 0
    return root


def test_init_makes_what_run_needs_and_says_what_comes_next(tmp_path: Path) -> None:
    directory = tmp_path / "node"
    result = invoke("init", directory, "--name", "alice", "--listen", "/ip4/127.0.0.1/tcp/9")
    assert result.exit_code == 0
    assert "Back up" in result.stdout
    assert "didyma run" in result.stdout
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.rglob("*"):
        assert not path.stat().st_mode & 0o077, path
    shown = json.loads(invoke("config", "show", "-c", directory / "node.toml", "--json").stdout)
    assert shown["settings"]["p2p.listen"]["value"] == "/ip4/127.0.0.1/tcp/9"
    assert shown["settings"]["node.member"]["value"] == "alice"


def test_init_overwrites_nothing(operators: Path) -> None:
    files = {path: path.read_bytes() for path in operators.rglob("*") if path.is_file()}
    result = invoke("init", operators / "alice", "--name", "alice")
    assert result.exit_code == 3
    assert "never overwritten" in result.stderr
    (operators / "alice" / "node.toml").rename(operators / "aside")
    try:
        assert invoke("init", operators / "alice", "--name", "alice").exit_code == 3
        assert invoke("keys", "new", operators / "alice").exit_code == 3
    finally:
        (operators / "aside").rename(operators / "alice" / "node.toml")
    assert {path: path.read_bytes() for path in operators.rglob("*") if path.is_file()} == files


def test_init_asks_for_a_name_only_in_a_terminal(tmp_path: Path) -> None:
    result = invoke("init", tmp_path / "node")
    assert result.exit_code == 2
    assert "--name" in result.stderr
    assert not (tmp_path / "node").exists()


def test_init_answers_questions_in_a_terminal(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    command = [*PROGRAM, "init", str(tmp_path / "node"), "--json"]
    with subprocess.Popen(command, stdin=terminal, stdout=-1, stderr=-1) as process:
        os.write(controller, b"alice\n\n")
        output, _ = process.communicate(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert process.returncode == 0
    assert json.loads(output)["member"] == "alice"


@pytest.mark.parametrize("option", [("--name", "Not A Name"), ("--name", "a", "--listen", "here")])
def test_init_refuses_what_the_configuration_would(tmp_path: Path, option: tuple[str, ...]) -> None:
    assert invoke("init", tmp_path / "node", *option).exit_code == 2
    assert not (tmp_path / "node").exists()


def test_init_takes_a_password_from_a_private_file_only(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse battery staple\n")
    password.chmod(0o644)
    arguments = ("init", tmp_path / "node", "--name", "a", "--password-file", password)
    result = invoke(*arguments)
    assert result.exit_code == 3
    assert "mode 0600" in result.stderr
    password.chmod(0o600)
    assert invoke(*arguments).exit_code == 0
    assert (
        tmp_path / "node/passwords/bls.password"
    ).read_text() == "correct horse battery staple\n"


def test_a_committee_is_assembled_signed_and_taken(operators: Path, tmp_path: Path) -> None:
    names = ("alice", "bob", "carol", "dave")
    members = [f"--member={operators / name / 'registration.json'}" for name in names]
    file = tmp_path / "network.json"
    made = invoke("network", "create", "--name", "n", *members, "--out", file, "--json")
    assert made.exit_code == 0
    assert json.loads(made.stdout)["unsigned"] == list(names)
    assert invoke("network", "create", "--name", "n", *members, "--out", file).exit_code == 3

    copies = []
    for name in names:
        copies.append(tmp_path / f"{name}.json")
        arguments = ("--network", file, "--out", copies[-1], "-c", operators / name / "node.toml")
        assert invoke("network", "sign", *arguments).exit_code == 0
    united = tmp_path / "united.json"
    merged = json.loads(invoke("network", "merge", *copies, "--out", united, "--json").stdout)
    assert merged["unsigned"] == []
    assert merged["network"] == json.loads(made.stdout)["network"]

    config = operators / "alice" / "node.toml"
    taken = operators / "alice" / "network.json"
    taken.write_bytes(united.read_bytes())
    environ = {
        "DIDYMA_P2P__PEERS": "["
        + ",".join(f'{{member = "{name}", address = "/ip4/127.0.0.1/tcp/1"}}' for name in names[1:])
        + "]"
    }
    assert invoke("config", "check", "-c", config, environ=environ).exit_code == 0
    # A password that opens nothing is found before the node runs.
    passwords = operators / "alice" / "passwords"
    for kind in ("identity", "bls", "account"):
        right = (passwords / f"{kind}.password").read_bytes()
        (passwords / f"{kind}.password").write_text("a password that is wrong\n")
        refused = invoke("config", "check", "-c", config, "--json", environ=environ)
        (passwords / f"{kind}.password").write_bytes(right)
        (problem,) = json.loads(refused.stderr)["error"]["problems"]
        assert problem["key"] == f"keys.{kind}"
        assert "wrong password" in problem["message"]
    # Another member's keys do not fit, an unsigned file does not do, and both are told at once.
    taken.write_bytes(file.read_bytes())
    (operators / "alice" / "passwords" / "bls.password").chmod(0o644)
    wrong = invoke("config", "check", "-c", config, "--json", environ=environ)
    (operators / "alice" / "passwords" / "bls.password").chmod(0o600)
    assert wrong.exit_code == 3
    problems = json.loads(wrong.stderr)["error"]["problems"]
    assert {problem["key"] for problem in problems} == {
        "node.network_file",
        "keys.bls_password_file",
    }
    taken.write_bytes(united.read_bytes())
    swapped = invoke(
        "config", "check", "-c", config, environ={**environ, "DIDYMA_NODE__MEMBER": "bob"}
    )
    assert "lists another BLS key for bob" in swapped.stderr


def test_public_keys_are_shown_without_a_password(operators: Path, tmp_path: Path) -> None:
    config = operators / "bob" / "node.toml"
    passwords = operators / "bob" / "passwords"
    passwords.rename(tmp_path / "elsewhere")
    try:
        listed = json.loads(invoke("keys", "list", "-c", config, "--json").stdout)["keys"]
        shown = {row["kind"]: row["public"] for row in listed}
        for kind, public in shown.items():
            assert invoke("keys", "show", kind, "-c", config).stdout == public + "\n"
    finally:
        (tmp_path / "elsewhere").rename(passwords)
    registration = json.loads((operators / "bob" / "registration.json").read_bytes())
    assert shown == {
        "identity": registration["ed25519_key"],
        "bls": registration["bls_key"],
        "account": registration["operator"],
    }


def test_a_registration_is_exported_again_as_it_was(operators: Path, tmp_path: Path) -> None:
    config = operators / "carol" / "node.toml"
    exported = invoke("keys", "export-registration", "-c", config)
    assert exported.stdout == (operators / "carol" / "registration.json").read_text()
    out = tmp_path / "r.json"
    assert invoke("keys", "export-registration", "-c", config, "--out", out).exit_code == 0
    assert out.read_text() == exported.stdout


def test_the_configuration_is_shown_with_origins_and_without_access_keys(operators: Path) -> None:
    chain = (
        '[{name = "main", chain_id = 1, oracle = "0x' + "1" * 40 + '", '
        'rpc_urls = ["https://user:secret@rpc.example.org/v3/secret?key=secret"]}]'
    )
    arguments = ("config", "show", "-c", operators / "dave" / "node.toml")
    environ = {"DIDYMA_CHAINS": chain, "DIDYMA_LOG__LEVEL": "debug"}
    for extra in ((), ("--json",)):
        shown = invoke(*arguments, *extra, environ=environ)
        assert shown.exit_code == 0
        assert "secret" not in shown.stdout
        assert "https://rpc.example.org/" in shown.stdout
        assert "environment variable DIDYMA_LOG__LEVEL" in shown.stdout


@pytest.mark.parametrize("place", ["before", "after"])
def test_errors_are_json_when_json_was_asked_for(tmp_path: Path, place: str) -> None:
    command = ["config", "check", "-c", str(tmp_path / "absent.toml")]
    result = invoke(*(["--json", *command] if place == "before" else [*command, "--json"]))
    assert result.exit_code == 3
    assert result.stdout == ""
    error = json.loads(result.stderr)["error"]
    assert error["kind"] == "configuration"
    assert error["exit_code"] == 3
    assert "didyma init" in error["message"]


def test_a_file_that_is_missing_has_one_exit_code_whatever_it_is(
    operators: Path, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    names = ("alice", "bob", "carol", "dave")
    members = [f"--member={operators / name / 'registration.json'}" for name in names]
    network = tmp_path / "network.json"
    assert invoke("network", "create", "--name", "n", *members, "--out", network).exit_code == 0
    for name in names:
        config = operators / name / "node.toml"
        assert invoke("network", "sign", "--network", network, "-c", config).exit_code == 0
    for command in (
        ("reports", "verify", absent, "--network", network),
        ("reports", "verify", network, "--network", absent),
        ("evidence", "verify", absent, "--network", network),
        ("evidence", "verify", network, "--network", absent),
        ("network", "show", "--network", absent),
        ("network", "create", "--name", "n", "--member", absent),
        ("network", "create", "--name", "n", members[0], "--catalogue", absent),
        ("committee", "show", absent),
        ("config", "check", "-c", absent),
        ("status", "-c", absent),
        ("run", "-c", absent),
    ):
        result = invoke(*command)
        assert result.exit_code == 3, command
        assert str(absent) in result.stderr, command
    # What is there and says nothing of the kind does not hold.
    for group in ("reports", "evidence"):
        assert invoke(group, "verify", network, "--network", network).exit_code == 1


def test_wrong_usage_has_a_code_of_its_own() -> None:
    assert invoke("config", "nothing").exit_code == 2
    assert invoke("nothing").exit_code == 2
    result = invoke("nothing", "--json")
    assert json.loads(result.stderr)["error"]["kind"] == "usage"


def test_help_lists_all_commands_and_exit_codes_without_importing_them() -> None:
    code = (
        "import sys\nfrom node.cli import main\n"
        "try:\n    main(['--help'])\nfinally:\n"
        "    print(sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0
    for word in ("init", "keys", "network", "config", "run", "status", "reports", "Exit status"):
        assert word in result.stdout
    for module in ("pydantic", "libp2p", "web3", "aiohttp", "eth_keyfile", "trio", "blspy"):
        assert f"'{module}'" not in result.stderr


@pytest.mark.parametrize(
    "command", ["init", "keys", "network", "config", "run", "status", "reports"]
)
def test_every_command_explains_itself(command: str) -> None:
    assert invoke(command, "--help").exit_code == 0


def test_a_reader_that_leaves_early_causes_no_complaint(operators: Path) -> None:
    command = [*PROGRAM, "config", "show", "-c", str(operators / "alice" / "node.toml")]
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = subprocess.run(command, stdout=write_end, stderr=-1, text=True)
    os.close(write_end)
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


def test_run_refuses_a_wrong_configuration_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("[node]\n")
    result = invoke("run", "-c", tmp_path / "node.toml")
    assert result.exit_code == 3
    assert "node.data_dir" in result.stderr


def test_a_command_that_lacks_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("extra", "absent_package.cli:extra", "didyma.commands")
    monkeypatch.setattr("node.cli.commands.entry_points", lambda group: [point])
    result = invoke("extra")
    assert result.exit_code == 1
    assert "absent_package, which is not installed; install it with `pip" in result.stderr
    assert "extra" in invoke("--help").stdout


def test_the_store_of_a_new_member_knows_its_key(operators: Path) -> None:
    registration = json.loads((operators / "alice" / "registration.json").read_bytes())
    with Store.open(operators / "alice" / "data") as store:
        assert store.is_own_key(bytes.fromhex(registration["bls_key"][2:]))


def test_init_does_not_adopt_the_data_of_another_node(tmp_path: Path) -> None:
    data = tmp_path / "node" / "data"
    data.mkdir(parents=True, mode=0o700)
    (data / "safety.sqlite").write_bytes(b"")
    result = invoke("init", tmp_path / "node", "--name", "alice")
    assert result.exit_code == 3
    assert "another node's data" in result.stderr
    assert sorted(path.name for path in (tmp_path / "node").iterdir()) == ["data"]
