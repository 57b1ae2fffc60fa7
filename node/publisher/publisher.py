"""All chains of a configuration, each with a task of its own."""

import asyncio
from collections.abc import Sequence

from node.publisher.account import Account
from node.publisher.chain import ChainPublisher, OnStored
from node.publisher.settings import ChainSettings
from node.publisher.status import ChainStatus
from node.publisher.terms import EpochTerms
from node.report import Report


class Publisher:
    """Pushes certified reports to chains when they are due.

    `private_key` (32 bytes) pays; `terms` are those of an epoch, others are told with `begin`.
    `on_stored` is called for each report that this node put on a chain. `begin`, `submit`, `change`
    and `run` belong to the asyncio thread, `status` to any.
    """

    def __init__(
        self,
        chains: Sequence[ChainSettings],
        *,
        network: bytes,
        terms: EpochTerms,
        private_key: bytes,
        on_stored: OnStored = lambda _chain, _seconds: None,
    ) -> None:
        account = Account(private_key)
        self._network = network
        self._chains = tuple(
            ChainPublisher(
                settings,
                network=network,
                terms=terms,
                account=account,
                on_stored=on_stored,
            )
            for settings in chains
        )

    def begin(self, terms: EpochTerms) -> None:
        """Take the terms of another epoch: an Oracle may be in this one, or in an earlier."""
        for chain in self._chains:
            chain.begin(terms)

    def submit(self, report: Report, deviations_ppm: Sequence[int] | None = None) -> None:
        """Take a certified report; what is older than the newest does no harm.

        `deviations_ppm` is how far each price may move before it is pushed, by the volatility that
        was agreed with the report; the published thresholds, if it is not known.
        """
        assert report.network == self._network
        for chain in self._chains:
            chain.submit(report, deviations_ppm)

    def change(self, chains: Sequence[ChainSettings]) -> None:
        """Take other RPC servers and fees of the chains that are published to already."""
        changed = {settings.name: settings for settings in chains}
        for chain in self._chains:
            if chain.status.name in changed:
                chain.change(changed[chain.status.name])

    def status(self) -> tuple[ChainStatus, ...]:
        """Return how each chain stands, in the order of the configuration."""
        return tuple(chain.status for chain in self._chains)

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            for chain in self._chains:
                group.create_task(chain.run(), name=f"publish {chain.status.name}")
