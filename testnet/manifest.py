"""`testnet.json`: what a testnet was, for whoever looks at its directory later."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from testnet.market import Depeg

MANIFEST_FILE = "testnet.json"
NETWORK_FILE = "network.json"
MANIFEST_BYTES_MAX = 1 << 20

ChainKind = Literal["embedded", "anvil"]


class ManifestError(Exception):
    """The manifest of a testnet's directory cannot be read."""


class MemberEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A member; `directory` is relative, `persona` is what it was made to be, if anything.

    Whoever is not `honest` is not held to what the network promises of its honest members.
    """

    name: str
    directory: str
    persona: str | None = None
    honest: bool = True


class ChainEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The chain and the Oracle on it (an address, hexadecimal)."""

    kind: ChainKind
    chain_id: int
    oracle: Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{40}\Z")]


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """Members in the order of the committee, the simulated market and the chain.

    `depegs` are what lost its worth in the market, and when.
    """

    seed: int
    origin_ms: int
    start_minute: int
    members: tuple[MemberEntry, ...]
    chain: ChainEntry
    depegs: tuple[Depeg, ...] = ()


def save_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest into a testnet's directory."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    (directory / MANIFEST_FILE).write_bytes(content)


def load_manifest(directory: Path) -> Manifest:
    """Read the manifest of a testnet's directory; raise `ManifestError`."""
    path = directory / MANIFEST_FILE
    try:
        with path.open("rb") as file:
            content = file.read(MANIFEST_BYTES_MAX + 1)
        if len(content) > MANIFEST_BYTES_MAX:
            raise ManifestError(f"{path} is longer than {MANIFEST_BYTES_MAX} bytes")
        return msgspec.json.decode(content, type=Manifest)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ManifestError(f"{path} is no manifest of a testnet: {error}") from None
