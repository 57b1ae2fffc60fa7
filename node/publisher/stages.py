"""Who transmits first: an order of the members for each state that a chain can be in."""

from functools import lru_cache
from struct import pack
from typing import Final

from consensus.digests import keccak

_LABEL: Final = b"didyma transmitters"


@lru_cache(maxsize=256)
def transmitter_order(
    network: bytes, chain_id: int, oracle: bytes, epoch: int, stored_view: int, members: int
) -> tuple[int, ...]:
    """Return the members' indices, the first to transmit first.

    Keyed by what is *stored* on the chain: all who look at the same state agree on the order, and
    whoever is first anew is another one. Nothing is secret about it.
    """
    key = keccak(_LABEL + network + pack(">Q", chain_id) + oracle + pack(">QQ", epoch, stored_view))
    order = list(range(members))
    for i in range(members - 1, 0, -1):
        j = int.from_bytes(keccak(key + pack(">H", i)), "big") % (i + 1)
        order[i], order[j] = order[j], order[i]
    return tuple(order)
