"""What `node.toml` may hold: the model, its defaults and what each value must be.

Nothing here reads a file; `node.config_file` does, and says on which line a value is wrong.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

import idna
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from node.addresses import parse_address

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
"""What members, networks and chains may be called: file names, labels and JSON keys alike."""

_MULTIADDR = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/\s%]+)/tcp/([0-9]{1,5})")
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_HOST_NAME_MAX = 253


class ListenAddress(NamedTuple):
    """Where an HTTP listener binds; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def check_name(text: str) -> str:
    """Return a name that is fit for file names and labels; raise `ValueError`."""
    if not NAME_PATTERN.fullmatch(text):
        raise ValueError(
            "must be 1 to 40 of a-z, 0-9, dot, dash, underscore, and start with a letter or digit"
        )
    return text


def _listen_address(value: object) -> object:
    if isinstance(value, ListenAddress):
        return value
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    host = host.removeprefix("[").removesuffix("]")
    usable = colon and (_is_ip(host) or _is_host_name(host)) and re.fullmatch("[0-9]{1,5}", port)
    if not usable or int(port) > 65535:
        raise ValueError('must be "host:port", for example "127.0.0.1:9480"')
    return ListenAddress(host, int(port))


def _loopback(address: ListenAddress) -> ListenAddress:
    if not address.is_loopback:
        raise ValueError(
            "must be a loopback address such as 127.0.0.1, because whoever reaches this listener "
            "controls the node"
        )
    return address


def check_multiaddr(text: str) -> str:
    """Return a multiaddr over TCP that can be dialed; raise `ValueError`."""
    _, _, port = _multiaddr_parts(text)
    if port == 0:
        raise ValueError("must have the port that the member listens at, which is not 0")
    return text


def check_listen_multiaddr(text: str) -> str:
    """Return a multiaddr over TCP to listen at; raise `ValueError`. Port 0 picks a free one."""
    kind, host, _ = _multiaddr_parts(text)
    if kind.startswith("dns"):
        raise ValueError(
            f"cannot listen at the name {host}: give an IP address of this machine, such as "
            '"/ip4/0.0.0.0/tcp/9400" for all of them'
        )
    return text


def _multiaddr_parts(text: str) -> tuple[str, str, int]:
    match = _MULTIADDR.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ValueError('must look like "/ip4/203.0.113.7/tcp/9400" or "/dns4/host/tcp/9400"')
    kind, host, port = match[1], match[2], int(match[3])
    try:
        if kind == "ip4":
            IPv4Address(host)
        elif kind == "ip6":
            IPv6Address(host)
    except ValueError:
        raise ValueError(f"must hold an IPv{kind[-1]} address, which {host!r} is not") from None
    if kind.startswith("dns") and not _is_host_name(host):
        raise ValueError(f"must hold a host name, which {host!r} is not")
    return kind, host, port


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    if len(text) > _HOST_NAME_MAX or not all(map(_HOST_LABEL.fullmatch, labels)):
        return False
    try:
        idna.encode(text, uts46=True)  # as libp2p does: it refuses more than a pattern can say
    except UnicodeError:
        return False
    return True


def _url_of(*schemes: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parts = urlsplit(text)
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        # The value is not repeated: URLs of RPC servers often hold an access key.
        if not usable:
            raise ValueError(f"must be a URL that starts with {' or '.join(schemes)}://")
        return text

    return AfterValidator(check)


def _address(value: object) -> object:
    return parse_address(value) if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(check_name)]
Listen = Annotated[ListenAddress, BeforeValidator(_listen_address)]
LoopbackListen = Annotated[Listen, AfterValidator(_loopback)]
Multiaddr = Annotated[str, AfterValidator(check_multiaddr)]
ListenMultiaddr = Annotated[str, AfterValidator(check_listen_multiaddr)]
HttpUrl = Annotated[str, _url_of("http", "https")]
WebSocketUrl = Annotated[str, _url_of("ws", "wss")]
Address = Annotated[bytes, BeforeValidator(_address), Field(min_length=20, max_length=20)]


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NodeSection(Section):
    """Who this node is and where it keeps its state."""

    data_dir: Path
    network_file: Path
    epoch_file: Path | None = None
    """The configuration of the later epoch with which this member joins."""
    member: Name | None = None
    """The name in the committee file; without it the node only follows."""
    twin_watch_views: int = Field(default=4, ge=0, le=1_000)
    """For so many certified views a member listens whether it runs elsewhere before it signs."""
    twin_watch_seconds: int = Field(default=3, ge=0, le=600)
    """And for so long at most; with 0 not at all."""


class StoreSection(Section):
    """How much of the past is kept in `data_dir`; what the member signed is kept for good."""

    blocks_max: int = Field(default=100_000, ge=16, le=10_000_000)
    """Blocks, from which other members that were away catch up."""
    reports_max: int = Field(default=250_000, ge=1, le=100_000_000)
    """Certified reports, which the API serves."""
    report_days_max: int = Field(default=30, ge=1, le=36_500)


class KeysSection(Section):
    """Encrypted key files, and the files that hold their passwords."""

    identity: Path
    identity_password_file: Path
    bls: Path | None = None
    bls_password_file: Path | None = None
    account: Path | None = None
    account_password_file: Path | None = None

    @model_validator(mode="after")
    def _each_key_has_a_password(self) -> Self:
        for kind in ("bls", "account"):
            key, password = getattr(self, kind), getattr(self, f"{kind}_password_file")
            if (key is None) != (password is None):
                raise ValueError(f"{kind} and {kind}_password_file must be given together")
        return self


class PeerSection(Section):
    """Where another member listens."""

    member: Name
    address: Multiaddr


class P2pSection(Section):
    """The committee's own network."""

    listen: ListenMultiaddr = "/ip4/0.0.0.0/tcp/9400"
    peers: tuple[PeerSection, ...] = Field(default=(), max_length=128)

    @model_validator(mode="after")
    def _one_address_per_member(self) -> Self:
        names = [peer.member for peer in self.peers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"member {name!r} has more than one address; keep one")
        return self


class EndpointSection(Section):
    """Another address for one venue than its public one."""

    ws_url: WebSocketUrl
    rest_url: HttpUrl | None = None


class FeedsSection(Section):
    """Where quotes come from."""

    endpoints: dict[Name, EndpointSection] = {}


class ChainSection(Section):
    """A chain that carries an `Oracle` contract of this network."""

    name: Name
    chain_id: int = Field(ge=1, le=2**63 - 1)
    rpc_urls: tuple[HttpUrl, ...] = Field(min_length=1, max_length=16)
    oracle: Address
    publish: bool = True
    """Whether this node takes its turn as a transmitter."""
    stage_ms: int = Field(default=2_000, ge=100, le=600_000)
    """How long the next transmitter waits for the one before it."""
    max_fee_gwei: int = Field(default=200, ge=1, le=1_000_000)
    """No transaction offers more per unit of gas."""
    min_balance_wei: int = Field(default=10**16, ge=0)
    """Below this the node warns that its account runs dry."""


class ApiSection(Section):
    """The public HTTP API: reports, proofs, calldata."""

    listen: Listen = ListenAddress("127.0.0.1", 9480)


class ControlSection(Section):
    """The operator's own listener, which `didyma status` asks."""

    listen: LoopbackListen = ListenAddress("127.0.0.1", 9481)


class MetricsSection(Section):
    """The Prometheus listener."""

    listen: Listen = ListenAddress("127.0.0.1", 9482)


class LogSection(Section):
    """What is logged, and how."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """A whole `node.toml`, every path absolute."""

    node: NodeSection
    store: StoreSection = StoreSection()
    keys: KeysSection
    p2p: P2pSection = P2pSection()
    feeds: FeedsSection = FeedsSection()
    chains: tuple[ChainSection, ...] = Field(default=(), max_length=64)
    api: ApiSection = ApiSection()
    control: ControlSection = ControlSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        listeners: dict[ListenAddress, str] = {}
        for key in ("api", "control", "metrics"):
            address = getattr(self, key).listen
            if address.port and address in listeners:
                raise ValueError(
                    f"{key}.listen and {listeners[address]}.listen are both {address}; give each "
                    "a port of its own"
                )
            listeners[address] = key
        names = [chain.name for chain in self.chains]
        if len(set(names)) != len(names):
            raise ValueError("two [[chains]] have the same name; give each its own")
        if self.node.member is not None and self.keys.bls is None:
            raise ValueError("node.member is set, so keys.bls and keys.bls_password_file must be")
        if any(chain.publish for chain in self.chains) and self.keys.account is None:
            raise ValueError(
                "a chain has publish = true, so keys.account and keys.account_password_file must "
                "be set; or set publish = false"
            )
        return self
