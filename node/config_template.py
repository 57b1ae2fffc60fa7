"""The commented `node.toml` that `didyma init` writes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.addresses import format_address
from node.config import ChainSection, EndpointSection, KeysSection, PeerSection


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What differs from node to node; the rest are comments and defaults.

    Addresses are in the form of the file: multiaddr for `p2p_listen`, `host:port` for the others.
    """

    member: str | None
    keys: KeysSection
    data_dir: Path = Path("data")
    network_file: Path = Path("network.json")
    p2p_listen: str = "/ip4/0.0.0.0/tcp/9400"
    peers: Sequence[PeerSection] = ()
    endpoints: Mapping[str, EndpointSection] = field(default_factory=dict)
    chains: Sequence[ChainSection] = ()
    api_listen: str = "127.0.0.1:9480"
    control_listen: str = "127.0.0.1:9481"
    metrics_listen: str = "127.0.0.1:9482"
    log_format: str = "text"
    log_level: str = "info"


def render(settings: NodeSettings) -> str:
    """Return the text of a configuration file with these settings."""
    return (
        "\n\n".join(
            (
                _HEAD,
                _node(settings),
                _keys(settings.keys),
                _p2p(settings),
                _feeds(settings.endpoints),
                _chains(settings.chains),
                _listeners(settings),
            )
        )
        + "\n"
    )


_HEAD = """\
# The configuration of one Didyma node. `didyma config check` finds mistakes, `didyma config show`
# prints what is in force and where each value comes from. Relative paths start at this file's
# directory. Every value can be overridden by an environment variable, for example
# DIDYMA_API__LISTEN=127.0.0.1:9490 or DIDYMA_LOG__LEVEL=debug."""


def _node(settings: NodeSettings) -> str:
    member = (
        f"member = {_text(settings.member)}"
        if settings.member is not None
        else '# member = "alice"'
    )
    return f"""\
[node]
# This node's name in the committee file. Without it the node follows and signs nothing.
{member}
# Holds the safety state: never restore an old copy of it, never start two nodes on one key.
data_dir = {_text(settings.data_dir)}
# The committee file, the same for all members of the network.
network_file = {_text(settings.network_file)}
# To join a network that goes on already: the configuration of the first epoch that lists this node.
# epoch_file = "next.json"
# Before a member signs, it listens whether it runs elsewhere: so many views, and so long at most.
# twin_watch_views = 4
# twin_watch_seconds = 3

# How much of the past is kept: blocks for members that were away, reports for the API.
# [store]
# blocks_max = 100000
# reports_max = 250000
# report_days_max = 30"""


def _keys(keys: KeysSection) -> str:
    lines = [f"{name} = {_text(value)}" for name, value in keys if value is not None]
    return "\n".join(
        (
            "[keys]",
            "# Encrypted key files, and for each a file of mode 0600 that holds its password.",
            *lines,
        )
    )


def _p2p(settings: NodeSettings) -> str:
    head = f"""\
[p2p]
# Where this node listens for the other members. They must be able to reach it.
listen = {_text(settings.p2p_listen)}"""
    if not settings.peers:
        return f"""\
{head}

# One such entry for every other member.
# [[p2p.peers]]
# member = "bob"
# address = "/dns4/bob.example.org/tcp/9400\""""
    peers = (
        f"[[p2p.peers]]\nmember = {_text(peer.member)}\naddress = {_text(peer.address)}"
        for peer in settings.peers
    )
    return "\n\n".join((head, *peers))


def _feeds(endpoints: Mapping[str, EndpointSection]) -> str:
    if not endpoints:
        return """\
# Exchanges are reached at their public addresses unless one is given here.
# [feeds.endpoints.kraken]
# ws_url = "wss://ws.kraken.com/v2\""""
    tables = []
    for venue, endpoint in endpoints.items():
        rest = "" if endpoint.rest_url is None else f"\nrest_url = {_text(endpoint.rest_url)}"
        tables.append(f"[feeds.endpoints.{venue}]\nws_url = {_text(endpoint.ws_url)}{rest}")
    return "\n\n".join(tables)


def _chains(chains: Sequence[ChainSection]) -> str:
    if not chains:
        return """\
# One such entry for each chain that carries the network's Oracle contract.
# [[chains]]
# name = "mainnet"
# chain_id = 1
# rpc_urls = ["https://rpc-one.example.org", "https://rpc-two.example.org"]
# oracle = "0x0000000000000000000000000000000000000000"
# publish = true            # take turns in sending updates, paid by keys.account
# stage_ms = 2000           # how long the next transmitter waits for the one before it
# max_fee_gwei = 200        # no transaction offers more per unit of gas
# min_balance_wei = 10000000000000000   # warn when the account holds less"""
    return "\n\n".join(
        f"""\
[[chains]]
name = {_text(chain.name)}
chain_id = {chain.chain_id}
rpc_urls = [{", ".join(map(_text, chain.rpc_urls))}]
oracle = {_text(format_address(chain.oracle))}
publish = {"true" if chain.publish else "false"}
stage_ms = {chain.stage_ms}
max_fee_gwei = {chain.max_fee_gwei}
min_balance_wei = {chain.min_balance_wei}"""
        for chain in chains
    )


def _listeners(settings: NodeSettings) -> str:
    return f"""\
[api]
# The public HTTP API: reports, proofs, calldata. Put a reverse proxy before it to serve others.
listen = {_text(settings.api_listen)}

[control]
# What `didyma status` asks; on loopback only.
listen = {_text(settings.control_listen)}

[metrics]
# For Prometheus.
listen = {_text(settings.metrics_listen)}

[log]
# "text" or "json"; debug, info, warning or error.
format = {_text(settings.log_format)}
level = {_text(settings.log_level)}"""


def _text(value: object) -> str:
    """Return a TOML string; JSON's escapes are a part of TOML's."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
