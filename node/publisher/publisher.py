"""All chains of a configuration, each with a task of its own."""

import asyncio
from collections.abc import Sequence

from aggregation.table import FeedTable
from node.publisher.account import Account
from node.publisher.chain import ChainPublisher, OnStored
from node.publisher.settings import ChainSettings
from node.publisher.status import ChainStatus
from node.report import Report


class Publisher:
    """Pushes certified reports to chains when they are due.

    `private_key` (32 bytes) pays; `me` is this node's index among `members` of the committee, None
    for a publisher that is no member. `on_stored` is called for each report that this node put on a
    chain. `submit` and `run` belong to the asyncio thread, `status` to
    any.
    """

    def __init__(
        self,
        chains: Sequence[ChainSettings],
        *,
        network: bytes,
        table: FeedTable,
        private_key: bytes,
        me: int | None,
        members: int,
        on_stored: OnStored = lambda _chain, _seconds: None,
    ) -> None:
        account = Account(private_key)
        self._network = network
        self._chains = tuple(
            ChainPublisher(
                settings,
                network=network,
                feeds=table.feeds,
                account=account,
                me=me,
                members=members,
                on_stored=on_stored,
            )
            for settings in chains
        )

    def submit(self, report: Report) -> None:
        """Take a certified report; what is older than the newest does no harm."""
        assert report.network == self._network
        for chain in self._chains:
            chain.submit(report)

    def status(self) -> tuple[ChainStatus, ...]:
        """Return how each chain stands, in the order of the configuration."""
        return tuple(chain.status for chain in self._chains)

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            for chain in self._chains:
                group.create_task(chain.run(), name=f"publish {chain.status.name}")
