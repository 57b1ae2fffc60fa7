from pathlib import Path

from node.config import ChainSection, EndpointSection, KeysSection, ListenAddress, PeerSection
from node.config_file import load_config, read_config
from node.config_template import NodeSettings, render

KEYS = KeysSection(
    identity=Path("keys/identity.pem"),
    identity_password_file=Path("passwords/identity.password"),
    bls=Path("keys/bls.json"),
    bls_password_file=Path("passwords/bls.password"),
    account=Path("keys/account.json"),
    account_password_file=Path("passwords/account.password"),
)


def test_the_template_as_it_is_written_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(render(NodeSettings("alice", KEYS)))
    written = load_config(path, {})
    path.write_text(render(NodeSettings("alice", KEYS)).partition("[p2p]")[0])
    assert load_config(path, {}) == written


def test_everything_that_a_deployment_sets_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    chain = ChainSection(
        name="local",
        chain_id=31337,
        rpc_urls=("http://127.0.0.1:1", 'http://127.0.0.1:2/"quoted"'),
        oracle=bytes(range(20)),
        stage_ms=500,
    )
    peers = (
        PeerSection(member="bob", address="/ip4/127.0.0.1/tcp/1"),
        PeerSection(member="carol", address="/dns4/carol.example.org/tcp/2"),
    )
    endpoints = {"kraken": EndpointSection(ws_url="ws://127.0.0.1:3", rest_url="http://[::1]:4")}
    path.write_text(
        render(
            NodeSettings(
                "alice",
                KEYS,
                data_dir=tmp_path / 'a "strange" name\\é',
                p2p_listen="/ip4/127.0.0.1/tcp/0",
                peers=peers,
                endpoints=endpoints,
                chains=(chain,),
                api_listen="127.0.0.1:0",
                log_format="json",
            )
        )
    )
    config = read_config(path, {}).config
    assert config.p2p.peers == peers
    assert config.feeds.endpoints == endpoints
    assert config.chains == (chain,)
    assert config.api.listen == ListenAddress("127.0.0.1", 0)
    assert config.node.data_dir == tmp_path / 'a "strange" name\\é'
    assert config.log.format == "json"
