"""The world: the other members, the chains, the exchanges."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from aggregation.table import FeedTable
from feeds.service import FeedService
from feeds.source import SourceHealth, SourceState
from feeds.venue import VenueEndpoint
from node.config import ChainSection, Config
from node.doctor.finding import Finding, Grade, failed, ok, warning
from node.network.address import endpoint_of
from node.publisher.oracle import Oracle, Refused
from node.publisher.rpc import Endpoint, RpcFailure

CONNECT_S: Final = 4.0
RPC_TIMEOUT_MS: Final = 5_000
HEADS_APART_MAX: Final = 5
"""Blocks between the heads of two servers of one chain."""

LISTEN_S: Final = 8.0
"""How long the exchanges may take to tell their first prices."""

_HELLO_MAX: Final = 64
_MULTISTREAM: Final = b"/multistream/1.0.0\n"


async def members(config: Config, me: str | None) -> list[Finding]:
    """See whether a libp2p node answers where each other member should listen."""
    peers = [peer for peer in config.p2p.peers if peer.member != me]
    return list(await asyncio.gather(*(_member(peer.member, peer.address) for peer in peers)))


async def _member(name: str, address: str) -> Finding:
    topic = f"member {name}"
    remedy = "ask its operator whether the node runs, and whether its firewall lets you in"
    endpoint = endpoint_of(address)
    writer = None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, family=endpoint.family
            )
            # Both sides of multistream-select speak first; nothing is proved by it, and the
            # connection that a running node has with this member is left alone.
            writer.write(bytes([len(_MULTISTREAM)]) + _MULTISTREAM)
            said = await reader.read(_HELLO_MAX)
    except TimeoutError:
        return failed(topic, f"no answer from {address} within {CONNECT_S:g} s", remedy)
    except OSError as error:
        return failed(topic, f"{address}: {error.strerror or error}", remedy)
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()
    if _MULTISTREAM not in said:
        return failed(
            topic,
            f"what listens at {address} is no libp2p node, or refuses strangers now",
            "check the address with its operator",
        )
    return ok(topic, f"a libp2p node answers at {address}")


async def chain(
    section: ChainSection,
    network: bytes | None,
    feeds_in: Mapping[int, int],
    account: bytes | None,
) -> list[Finding]:
    """See whether the chain's RPC servers answer, agree, and know the Oracle and the account."""
    topic = f"chain {section.name}"
    endpoints = [Endpoint(url, RPC_TIMEOUT_MS) for url in section.rpc_urls]
    oracle = Oracle(section.oracle, section.chain_id, network or bytes(32))
    looks = []
    findings = []
    try:
        for endpoint in endpoints:
            try:
                if network is not None:
                    await oracle.verify(endpoint, feeds_in)
                look = await oracle.look(endpoint, account or bytes(20), ())
            except Refused as error:
                findings.append(failed(topic, str(error), f"mend [[chains]] {section.name!r}"))
            except RpcFailure as error:
                findings.append(
                    failed(topic, str(error), "start that server, or put another in rpc_urls")
                )
            else:
                looks.append(look)
                findings.append(ok(topic, f"{endpoint.shown} is at block {look.head}"))
    finally:
        for endpoint in endpoints:
            await endpoint.close()
    if looks and len(endpoints) > 1:
        apart = max(look.head for look in looks) - min(look.head for look in looks)
        if apart > HEADS_APART_MAX:
            findings.append(
                warning(topic, f"its servers are {apart} blocks apart", "drop the one behind")
            )
    elif looks:
        findings.append(
            warning(topic, "has one RPC server only", "name a second one of another provider")
        )
    if looks and section.publish and account is not None:
        findings.append(_balance(section, min(look.balance_wei for look in looks)))
    return findings


def _balance(section: ChainSection, balance_wei: int) -> Finding:
    topic = f"chain {section.name}"
    said = f"the account holds {balance_wei / 10**18:.6g} of the chain's coin"
    if not balance_wei:
        return failed(topic, said, "fund it: `didyma keys list` shows its address")
    if balance_wei < section.min_balance_wei:
        return warning(topic, f"{said}, less than min_balance_wei", "fund it")
    return ok(topic, said)


async def exchanges(table: FeedTable, config: Config) -> list[Finding]:
    """Listen to all exchanges for a while, and say what each gave."""
    endpoints = {
        venue: VenueEndpoint(section.ws_url, section.rest_url)
        for venue, section in config.feeds.endpoints.items()
    }
    service = FeedService(table, endpoints, lambda _quote: None)
    task = asyncio.create_task(service.run())
    loop = asyncio.get_running_loop()
    ends = loop.time() + LISTEN_S
    try:
        while loop.time() < ends and not task.done():
            await asyncio.sleep(0.2)
            if all(health.state is SourceState.LIVE for health in service.health()):
                break
        found = service.health()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    venues = sorted({health.venue for health in found})
    return [_venue(venue, [one for one in found if one.venue == venue]) for venue in venues]


def _venue(venue: str, sources: Sequence[SourceHealth]) -> Finding:
    topic = f"exchange {venue}"
    lacking = [source for source in sources if source.state is not SourceState.LIVE]
    if not lacking:
        return ok(topic, f"prices of {len(sources)} pairs")
    first = lacking[0]
    return warning(
        topic,
        f"no price of {len(lacking)} of {len(sources)} pairs, such as {first.base}/{first.quote}: "
        f"{first.reason}",
        "the others are used meanwhile; the reason says what the exchange wants",
    )


def few_exchanges(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Say so if most exchanges give nothing: then it is this machine's network."""
    silent = sum(finding.grade is not Grade.OK for finding in findings)
    if findings and 2 * silent > len(findings):
        yield failed(
            "exchanges",
            f"{silent} of {len(findings)} do not give all their prices",
            "check this machine's network, DNS, and whether its country is served",
        )
