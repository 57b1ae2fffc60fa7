"""What of a changed `node.toml` takes force in a running node, and what waits for a restart."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from node.config import ChainSection, Config
from node.errors import ConfigFileError, Problem

CHAIN_KEYS: Final = ("rpc_urls", "stage_ms", "max_fee_gwei", "min_balance_wei")
"""What of a chain changes while the node runs; which Oracle it writes to does not."""


@dataclass(frozen=True, slots=True)
class Reload:
    """A configuration that can take force now.

    `changed` are the keys in which it differs from the old one, `waiting` those in which the file
    differs from it still, which need a restart.
    """

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def reload(old: Config, new: Config, peers_needed: Collection[str] = ()) -> Reload:
    """Return what of a new file takes force, given what is in force.

    Raises `ConfigFileError` if the file lacks the address of a member that is needed: the old
    configuration then stays in force as a whole.
    """
    missing = set(peers_needed) - {peer.member for peer in new.p2p.peers}
    if missing:
        problems = tuple(
            Problem("p2p.peers", f"no address for member {name!r}", remedy="add its entry again")
            for name in sorted(missing)
        )
        raise ConfigFileError("the new configuration lacks members' addresses", problems)
    updated = {
        "p2p": old.p2p.model_copy(update={"peers": new.p2p.peers}),
        "feeds": new.feeds,
        "chains": _chains(old.chains, new.chains),
        "log": new.log,
    }
    config = old.model_copy(update=updated)
    return Reload(config, _differences(old, config), _differences(config, new))


def _chains(
    old: tuple[ChainSection, ...], new: tuple[ChainSection, ...]
) -> tuple[ChainSection, ...]:
    named = {chain.name: chain for chain in new}
    return tuple(
        chain.model_copy(update={key: getattr(named[chain.name], key) for key in CHAIN_KEYS})
        if chain.name in named
        else chain
        for chain in old
    )


def _differences(old: Config, new: Config) -> tuple[str, ...]:
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    keys = [*before, *(key for key in after if key not in before)]
    return tuple(key for key in keys if before.get(key) != after.get(key))


def _leaves(value: object, at: str) -> Iterator[tuple[str, object]]:
    """Return the values by key; peers and chains go by their names, as places may change."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), f"{at}.{name}" if at else name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{at}.{key}")
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for item in value:
            called = getattr(item, "member", None) or getattr(item, "name", "")
            yield from _leaves(item, f"{at}[{called}]")
    else:
        yield at, value
