"""Read prices from an Oracle on a chain, as a contract would."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from node.cli.output import emit, json_option

if TYPE_CHECKING:
    from contracts.oracle_client import Oracle

T = TypeVar("T")
_Command = TypeVar("_Command", bound=Callable[..., object])


def _where(command: _Command) -> _Command:
    """Add the options that say which Oracle is meant."""
    command = click.option("--oracle", required=True, help="The contract's address.")(command)
    return click.option("--rpc", required=True, help="The URL of the chain's RPC server.")(command)


@click.group()
def oracle() -> None:
    """Read prices from an Oracle on a chain, as a contract would."""


@oracle.command("feeds")
@_where
@json_option
def feeds(rpc: str, oracle: str) -> None:
    """List the feeds with their newest stored prices, whatever their age."""
    from aggregation.status import Status
    from node.cli.status import lines_of

    async def ask(there: "Oracle") -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for index, feed in enumerate(await there.feeds()):
            answer = await there.latest(index)
            known = answer.status is not Status.UNAVAILABLE
            rows.append(
                {
                    "index": index,
                    "feed": answer.feed,
                    "price": _text(answer.price, answer.decimals) if known else None,
                    "confidence_ppm": answer.confidence_ppm,
                    "status": answer.status.name.lower(),
                    "observed_at_ms": answer.observed_at_ms or None,
                    "deviation_ppm": feed.deviation_ppm,
                    "heartbeat_ms": feed.heartbeat_ms,
                }
            )
        return rows

    document = {"feeds": _ask(rpc, oracle, ask)}
    emit(document, "\n".join(line.rstrip() for line in lines_of(document)))


@oracle.command("read")
@_where
@click.option("--max-age", type=click.IntRange(0, 2**32 - 1), default=60, show_default=True)
@click.option(
    "--max-confidence", type=click.IntRange(0, 2**32 - 1), default=5_000, show_default=True
)
@click.argument("feed")
@json_option
def read(rpc: str, oracle: str, max_age: int, max_confidence: int, feed: str) -> None:
    """Read the price of a FEED (as BTC/USD, or its index) if it is fit for use.

    At most --max-age seconds old, and certain to --max-confidence parts per million; else the
    reason, and exit status 1.
    """
    wanted = int(feed) if feed.isascii() and feed.isdigit() and len(feed) < 6 else feed

    async def ask(there: "Oracle") -> dict[str, object]:
        price = await there.read(wanted, max_age_s=max_age, max_confidence_ppm=max_confidence)
        return {
            "feed": price.feed,
            "price": _text(price.price, price.decimals),
            "observed_at_ms": price.observed_at_ms,
        }

    document = _ask(rpc, oracle, ask)
    emit(document, f"{document['feed']} {document['price']}")


def _ask(rpc: str, oracle: str, ask: "Callable[[Oracle], Awaitable[T]]") -> T:
    from contracts.errors import OracleError
    from contracts.oracle_client import Oracle
    from contracts.rpc import HttpRpc, RpcRefused, RpcUnreachable
    from node.errors import CheckFailed, NodeUnreachable

    async def run() -> T:
        async with HttpRpc(rpc) as server:
            return await ask(Oracle(server, oracle))

    try:
        return asyncio.run(run())
    except RpcUnreachable as error:
        raise NodeUnreachable(str(error)) from None
    except (OracleError, RpcRefused, ValueError) as error:
        raise CheckFailed(str(error)) from None


def _text(price: int, decimals: int) -> str:
    whole, fraction = divmod(price, 10**decimals)
    return f"{whole}.{fraction:0{decimals}}" if decimals else str(whole)
