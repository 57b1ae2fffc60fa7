"""What the nodes say of themselves, asked as an operator asks."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from testnet.deployment import MemberNode

_TIMEOUT = aiohttp.ClientTimeout(total=2)

Status = dict[str, Any]
"""The document of a node's control listener."""


class NodeWatch:
    """Asks nodes for their status; use as an async context manager."""

    def __init__(self, members: Sequence[MemberNode]) -> None:
        self._members = tuple(members)
        self.statuses: list[Status | None] = [None] * len(self._members)
        """The newest answers by member; None from who did not answer."""
        self.signers: tuple[str, ...] = ()
        """Who signed the newest report of the node that is furthest."""

    async def __aenter__(self) -> "NodeWatch":
        """Open the connections."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close them."""
        await self._session.close()

    async def look(self) -> None:
        """Ask all nodes at once."""
        answers = [
            self._ask(f"http://127.0.0.1:{m.ports.control}/v1/status") for m in self._members
        ]
        self.statuses = list(await asyncio.gather(*answers))
        furthest = self.furthest
        if furthest is not None:
            ports = self._members[furthest].ports
            report = await self._ask(f"http://127.0.0.1:{ports.api}/v1/reports/latest")
            self.signers = tuple((report or {}).get("signers") or ())

    @property
    def furthest(self) -> int | None:
        """The member that knows the newest certified report, if any does."""
        views = [_latest_view(status) for status in self.statuses]
        newest = max(views, default=0)
        return views.index(newest) if newest else None

    @property
    def newest_view_seen(self) -> int:
        """The view of the newest certified report in the answers; 0 if there is none."""
        return max(map(_latest_view, self.statuses), default=0)

    async def newest_view(self) -> int:
        """Return the view of the newest certified report that any node knows of; 0 if none does."""
        answers = await asyncio.gather(
            *(self._ask(f"http://127.0.0.1:{m.ports.api}/v1/status") for m in self._members)
        )
        return max((_latest_view(answer) for answer in answers), default=0)

    async def _ask(self, url: str) -> Status | None:
        try:
            async with self._session.get(url) as response:
                if response.status != 200:
                    return None
                document = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return document if isinstance(document, dict) else None


def _latest_view(status: Status | None) -> int:
    latest = status.get("latest") if status is not None else None
    view = latest.get("view") if isinstance(latest, dict) else None
    return view if isinstance(view, int) else 0


def all_live(status: Status | None) -> bool:
    """Tell whether a node knows a certified report in which every feed is live."""
    if status is None or not _latest_view(status):
        return False
    feeds = status.get("feeds") or []
    return bool(feeds) and all(feed.get("status") == "live" for feed in feeds)


def takes_part(status: Status | None, view: int) -> bool:
    """Tell whether a node has certified a report at or after a view since it started."""
    return status is not None and _latest_view(status) >= view > 0
