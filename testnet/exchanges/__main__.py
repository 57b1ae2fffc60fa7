"""Run the simulated exchanges: `python -m testnet.exchanges --seed 1 --origin-ms 1700000000000`."""

import argparse
import asyncio
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Sequence

import msgspec

from testnet.exchanges.simulator import DEFAULT_RATE, MAX_RATE, VENUES, simulated_exchanges
from testnet.market import Market

_PARENT_CHECK_S = 0.5
_CLIENTS = 32


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or until the process that started this one is gone."""
    arguments = _arguments(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s exchanges %(message)s"
    )
    try:
        market = Market(arguments.seed, arguments.origin_ms, arguments.start_minute)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    asyncio.run(_serve(market, arguments))
    return 0


async def _serve(market: Market, arguments: argparse.Namespace) -> None:
    parent = os.getppid()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    exchanges = simulated_exchanges(
        market,
        host=arguments.host,
        rate=arguments.rate,
        names=arguments.venues,
        clients=arguments.clients,
        bases=arguments.bases,
    )
    async with exchanges as simulation:
        ready = {**simulation.description(), "start_minute": market.start_minute}
        sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
        sys.stdout.flush()
        while not stop.is_set():
            # Asked rather than signalled: PR_SET_PDEATHSIG would also strike when only the
            # parent's *thread* that started us ends, and trio starts processes from such threads.
            if os.getppid() != parent:
                break
            try:
                async with asyncio.timeout(_PARENT_CHECK_S):
                    await stop.wait()
            except TimeoutError:
                continue


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m testnet.exchanges", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="decides every price")
    parser.add_argument(
        "--origin-ms", type=int, required=True, help="Unix ms at which the market's path starts"
    )
    parser.add_argument(
        "--start-minute", type=int, help="minute of the recording at the origin (picked by seed)"
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=DEFAULT_RATE,
        help=f"quotes a second over all exchanges (default {DEFAULT_RATE:g})",
    )
    parser.add_argument("--host", type=_loopback, default="127.0.0.1", help="loopback address")
    parser.add_argument(
        "--venues",
        type=_venues,
        default=tuple(VENUES),
        help=f"comma-separated, of {','.join(VENUES)} (default all)",
    )
    parser.add_argument(
        "--bases",
        type=lambda text: tuple(text.split(",")),
        help="comma-separated: the assets whose pairs are traded, with all of the rate "
        "(default all)",
    )
    parser.add_argument(
        "--clients",
        type=_positive,
        default=_CLIENTS,
        help="how many nodes share the address, each with its own limits on requests "
        f"(default {_CLIENTS})",
    )
    return parser.parse_args(argv)


def _rate(text: str) -> float:
    rate = float(text)
    if not 1 <= rate <= MAX_RATE:
        raise argparse.ArgumentTypeError(f"must be between 1 and {MAX_RATE:g}")
    return rate


def _positive(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


def _loopback(text: str) -> str:
    if not ipaddress.ip_address(text).is_loopback:
        raise argparse.ArgumentTypeError("must be a loopback address")
    return text


def _venues(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in VENUES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}, know {', '.join(VENUES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
