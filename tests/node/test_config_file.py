import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import (
    ChainSection,
    Config,
    ListenAddress,
    check_listen_multiaddr,
    check_multiaddr,
)
from node.config_file import load_config, read_config
from node.errors import ConfigFileError
from node.network.address import endpoint_of, listen_endpoint_of

MINIMAL = """\
[node]
data_dir = "data"
network_file = "/etc/didyma/network.json"

[keys]
identity = "identity.pem"
identity_password_file = "identity.password"
"""

CHAIN = """
[[chains]]
name = "mainnet"
chain_id = 1
rpc_urls = ["https://rpc.example.org/v3/a-secret-access-key"]
oracle = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
publish = false
"""

PEER = """
[[p2p.peers]]
member = "bob"
address = "/dns4/host.example/tcp/9400"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def refusal(path: Path, environ: dict[str, str] | None = None) -> ConfigFileError:
    with pytest.raises(ConfigFileError) as caught:
        read_config(path, environ or {})
    return caught.value


def test_what_is_not_said_has_a_default_and_paths_start_at_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, MINIMAL), {})
    assert config.node.data_dir == tmp_path / "data"
    assert config.node.network_file == Path("/etc/didyma/network.json")
    assert config.node.member is None
    assert config.control.listen == ListenAddress("127.0.0.1", 9481)
    assert config.chains == ()


def test_an_address_becomes_its_twenty_bytes(tmp_path: Path) -> None:
    (chain,) = load_config(written(tmp_path, MINIMAL + CHAIN), {}).chains
    assert isinstance(chain, ChainSection)
    assert chain.oracle.hex() == "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"


def test_every_problem_is_said_at_once_with_its_line_key_and_remedy(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL.replace("data_dir", "datadir") + '\n[log]\nlevel = "loud"\n')
    problems = {problem.key: problem for problem in refusal(path).problems}
    assert problems["node.datadir"].where == f"{path}:2"
    assert "data_dir" in problems["node.datadir"].remedy
    assert problems["node.data_dir"].where == f"{path}:1"
    assert "is missing" in problems["node.data_dir"].message
    assert problems["log.level"].where == f"{path}:10"
    assert "warning" in problems["log.level"].message
    assert len(problems) == 3


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ('[p2p]\nlisten = "0.0.0.0:9400"', "p2p.listen", 10),
        ('[p2p]\nlisten = "/ip4/0.0.0.0/tcp/70000"', "p2p.listen", 10),
        ('[p2p]\nlisten = "/ip6/zz/tcp/9410"', "p2p.listen", 10),
        ('[p2p]\nlisten = "/ip6/fe80::1%eth0/tcp/9410"', "p2p.listen", 10),
        ('[p2p]\nlisten = "/ip4/1.2.3/tcp/9410"', "p2p.listen", 10),
        ('[p2p]\nlisten = "/dns4/node.example.org/tcp/9410"', "p2p.listen", 10),
        (PEER.replace("host.example", "-host"), "p2p.peers[0].address", 11),
        (PEER.replace("host.example", "a..b"), "p2p.peers[0].address", 11),
        (PEER.replace("host.example", "h" * 64), "p2p.peers[0].address", 11),
        (PEER.replace("9400", "0"), "p2p.peers[0].address", 11),
        ('[api]\nlisten = "no host:9480"', "api.listen", 10),
        ('[api]\nlisten = "9480"', "api.listen", 10),
        ('[api]\nlisten = "localhost:99999"', "api.listen", 10),
        ('[control]\nlisten = "0.0.0.0:9481"', "control.listen", 10),
        (CHAIN.replace("Aed", "AED"), "chains[0].oracle", 13),
        (CHAIN.replace("https", "ftp"), "chains[0].rpc_urls[0]", 12),
        (CHAIN.replace("= 1", "= 0"), "chains[0].chain_id", 11),
        (CHAIN + CHAIN, "", 0),
        ("[unknown]\nx = 1", "unknown", 9),
        ('[feeds.endpoints.kraken]\nws_url = "http://x"', "feeds.endpoints.kraken.ws_url", 10),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(
    tmp_path: Path, text: str, key: str, line: int
) -> None:
    path = written(tmp_path, f"{MINIMAL}\n{text.lstrip()}\n")
    error = refusal(path)
    (problem,) = error.problems
    assert problem.key == key
    assert problem.where == (f"{path}:{line}" if line else str(path))
    assert "a-secret-access-key" not in str(error)


@pytest.mark.parametrize("section", ['member = "alice"', "publish"])
def test_a_node_that_signs_or_pays_must_have_the_key_for_it(tmp_path: Path, section: str) -> None:
    if section == "publish":
        text = MINIMAL + CHAIN.replace("publish = false", "publish = true")
    else:
        text = MINIMAL.replace("[node]", f"[node]\n{section}")
    assert "keys." in str(refusal(written(tmp_path, text)))


@given(
    st.sampled_from(["ip4", "ip6", "dns", "dns4", "dns6"]),
    st.one_of(
        st.ip_addresses().map(str),
        st.text("abz019.:-_", max_size=20),
        st.text(max_size=8),
        st.sampled_from(["localhost", "node.example.org", "xn--bcher-kva.example", "a_b"]),
    ),
    st.integers(0, 70_000),
)
def test_what_is_taken_can_be_dialed_and_listened_at(kind: str, host: str, port: int) -> None:
    text = f"/{kind}/{host}/tcp/{port}"
    for check, parse in (
        (check_multiaddr, endpoint_of),
        (check_listen_multiaddr, listen_endpoint_of),
    ):
        try:
            check(text)
        except ValueError:
            continue
        assert parse(text).port == port


def test_a_file_that_nests_too_deeply_is_told_so(tmp_path: Path) -> None:
    (problem,) = refusal(written(tmp_path, "x = " + "[" * 50_000)).problems
    assert "too deeply" in problem.message
    assert "double quotes" not in problem.remedy


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "\nlisten = here\n")
    (problem,) = refusal(path).problems
    assert problem.where == f"{path}:9"


def test_a_file_that_cannot_be_read_says_how_to_make_one(tmp_path: Path) -> None:
    assert "didyma init" in str(refusal(tmp_path / "absent.toml"))
    assert "UTF-8" in str(refusal(_binary(tmp_path)))


def _binary(tmp_path: Path) -> Path:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    return path


def test_the_environment_overrides_and_is_named_as_the_origin(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + CHAIN)
    environ = {
        "DIDYMA_API__LISTEN": "[::1]:0",
        "DIDYMA_NODE__MEMBER": "7",
        "DIDYMA_KEYS__BLS": "bls.json",
        "DIDYMA_KEYS__BLS_PASSWORD_FILE": "bls.password",
        "DIDYMA_CHAINS__0__CHAIN_ID": "5",
        "DIDYMA_CHAINS__0__RPC_URLS": '["http://127.0.0.1:8545"]',
        "DIDYMA_CONFIG": "of the command line, not a setting",
        "PATH": "/bin",
    }
    read = read_config(path, environ)
    assert read.config.api.listen == ListenAddress("::1", 0)
    assert read.config.node.member == "7"
    assert read.config.keys.bls == tmp_path / "bls.json"
    assert read.config.chains[0].chain_id == 5
    assert read.config.chains[0].rpc_urls == ("http://127.0.0.1:8545",)
    origins = {setting.key: setting.origin for setting in read.settings}
    assert origins["api.listen"] == "environment variable DIDYMA_API__LISTEN"
    assert origins["chains[0].rpc_urls"] == "environment variable DIDYMA_CHAINS__0__RPC_URLS"
    assert origins["chains[0].name"] == f"{path}:10"
    assert origins["log.level"] == "default"


@pytest.mark.parametrize(
    "variable", ["DIDYMA_API__LISTN", "DIDYMA_NOTHING__HERE", "DIDYMA_CHAINS__9__NAME"]
)
def test_an_override_of_nothing_is_refused_and_named(tmp_path: Path, variable: str) -> None:
    assert variable in str(refusal(written(tmp_path, MINIMAL), {variable: "x"}))


@given(text=st.text(max_size=60))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(MINIMAL + text)
    with contextlib.suppress(ConfigFileError):
        assert isinstance(load_config(path, {}), Config)


@given(
    variable=st.from_regex(r"DIDYMA_[A-Z0-9]{1,6}(__[A-Z0-9]{0,6}){1,4}", fullmatch=True),
    value=st.text(max_size=20),
)
def test_no_override_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, variable: str, value: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "overridden.toml"
    path.write_text(MINIMAL)
    with pytest.raises(ConfigFileError):
        load_config(path, {variable: value})


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            '[api]\nlisten = "127.0.0.1:9482"',
            "metrics.listen and api.listen are both 127.0.0.1:9482",
        ),
        ("[api]\nlisten = 5", 'must be "host:port", for example "127.0.0.1:9480"'),
    ],
)
def test_a_listener_that_cannot_be_is_told(tmp_path: Path, lines: str, told: str) -> None:
    path = tmp_path / "node.toml"
    path.write_text(f"{MINIMAL}\n{lines}\n")
    with pytest.raises(ConfigFileError) as refused:
        load_config(path)
    assert told in str(refused.value)
