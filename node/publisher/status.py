"""How publishing on one chain stands, for the API and for metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """A snapshot. Times are Unix ms, amounts wei; None where nothing is known yet.

    `state` is `starting`, `publishing`, `unreachable` (no RPC server answers) or `refused` (the
    chain or the contract is not what the configuration says; `reason` tells why). `pushes` counts
    stored reports by trigger; `superseded` those that another transmitter was faster with;
    `successions` the transactions that brought the Oracle nearer to its next epoch.
    """

    name: str
    chain_id: int
    oracle: str
    account: str
    state: str
    reason: str
    endpoint: str
    head: int | None
    head_time_ms: int | None
    stored_epoch: int | None
    stored_view: int | None
    stored_observed_at_ms: int | None
    stage: int | None
    pending: str | None
    pending_since_ms: int | None
    replacements: int
    pushes: dict[str, int]
    superseded: int
    successions: int
    reverted: int
    last_push_transaction: str | None
    last_push_gas_used: int | None
    gas_used: int
    cost_wei: int
    balance_wei: int | None
    dry: bool
    errors: int
    last_error: str

    @property
    def pushes_total(self) -> int:
        """All stored reports that this node pushed."""
        return sum(self.pushes.values())
