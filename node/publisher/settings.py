"""What the publisher needs to know of one chain."""

from dataclasses import dataclass
from typing import Final, Self

from node.config import ChainSection

GWEI: Final = 10**9


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """One chain, its RPC servers in order of preference, and the Oracle there.

    `heartbeat_lead_ms` is how early a heartbeat is pushed, so that the report is stored in time;
    `stuck_ms` is how long a transaction waits before it is replaced with a higher fee;
    `compare_ms` is how often another RPC server is asked too, since one may claim that nothing is
    due; `report_age_max_ms` is the age beyond which a report is worth no fee.
    """

    name: str
    chain_id: int
    rpc_urls: tuple[str, ...]
    oracle: bytes
    stage_ms: int = 2_000
    poll_ms: int = 4_000
    pending_poll_ms: int = 500
    stuck_ms: int = 12_000
    request_timeout_ms: int = 5_000
    compare_ms: int = 30_000
    heartbeat_lead_ms: int = 2_000
    report_age_max_ms: int = 60_000
    max_fee_wei: int = 200 * GWEI
    min_balance_wei: int = 10**16

    @classmethod
    def of(cls, section: ChainSection) -> Self:
        """Return the settings that a `[[chains]]` table of node.toml asks for."""
        return cls(
            name=section.name,
            chain_id=section.chain_id,
            rpc_urls=section.rpc_urls,
            oracle=section.oracle,
            stage_ms=section.stage_ms,
            max_fee_wei=section.max_fee_gwei * GWEI,
            min_balance_wei=section.min_balance_wei,
        )
