"""Rounds of real nodes beside the bare protocol, in one run: latency and CPU, and their ratios.

    make bench                                   4 to 31 members, in six minutes
    make bench ARGS="--members 4 --seconds 30"   longer; --json for machines
    make bench ARGS="--members 4 --delay-ms 50"  a slow network, and the death of a leader

The larger the committee, the fewer rounds a second, for it and for the bare path alike, so that two
cores can carry it. With a delay, rounds follow each other as fast as the network lets them.
Times of a loaded machine mean little by themselves: read the ratios. `certificate` is the time
between a member's own observation and its holding the certificate of the round, of all members and
rounds together. CPU is the processor time of all members' processes together, for one round.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from blspy import G2Element, PopSchemeMPL
from nacl.signing import SigningKey
from real_nodes import Measured, running

from consensus.committee import quorum
from consensus.core import SMALL_COMMITTEE_MAX
from testnet.deployment import timing_for

BARE_PATH = Path(__file__).with_name("bare_path.py")
START_SECONDS_MAX = 240.0
WARM_UP_SECONDS = 3.0
WARM_UP_ROUNDS_MIN = 4
RATES = ((16, 4.0), (31, 1.0))
"""Up to so many members, so many rounds a second."""

DELAYED_RATE = 50.0
"""Faster than any delayed network: no round waits for its time."""

ROUNDS_MIN = 6
KILLED_SECONDS = 8.0
"""Long enough for each member to lead a few times, and for a view to time out."""
SETTLE_SECONDS = 4.0
"""After the exchanges have gone, so that closing connections is not counted."""


def main() -> int:
    given = _arguments()
    if given.delay_ms:
        delayed = [_delayed(n, given) for n in given.members]
        print(json.dumps({"delayed": delayed}) if given.json else _delayed_table(delayed))
        return 0
    results = []
    for n in given.members:
        results.append(_compare(n, given))
        if not given.json:
            print(_table(results[-1:], heading=len(results) == 1), flush=True)
    if given.json:
        print(json.dumps({"committees": results}))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, nargs="+", default=[4, 7, 10, 16, 31], metavar="N")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--rate", type=float, help="rounds a second (by the size of the committee)")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way, between members")
    parser.add_argument("--quotes", type=float, default=200.0, help="quotes a second and node")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    if not all(4 <= n <= 31 for n in given.members) or not 0 < (given.rate or 1) <= 50:
        parser.error("a committee has 4 to 31 members here, and up to 50 rounds a second")
    if not 1 <= given.seconds <= 3600:
        parser.error("measure for 1 to 3600 seconds")
    if not 0 <= given.delay_ms <= 200:
        parser.error("delay by 0 to 200 ms")
    return given


def _compare(n: int, given: argparse.Namespace) -> dict[str, object]:
    rate = given.rate or next(rate for members, rate in RATES if n <= members)
    seconds = max(given.seconds, ROUNDS_MIN / rate)
    bare = _bare(n, rate, seconds)
    with tempfile.TemporaryDirectory(prefix="didyma-bench-") as root:
        with running(n, rate, given.quotes, Path(root)) as cluster:
            cluster.wait_for_rounds(_warm_up_rounds(rate), START_SECONDS_MAX)
            real = cluster.measure(seconds)
            cluster.stop_exchanges()
            time.sleep(SETTLE_SECONDS)
            without_feeds = cluster.measure(max(seconds / 2, ROUNDS_MIN / rate))
    per_round = {
        "bare": _per_round(bare),
        "real": _per_round(real),
        "real_without_feeds": _per_round(without_feeds),
    }
    operations = _operation_ms(n)
    cryptography_ms = sum(
        count * operations[name] for name, count in _operations_per_round(n).items()
    )
    return {
        "n": n,
        "rate": rate,
        **per_round,
        "ratio": _ratio(per_round["real"], per_round["bare"]),
        "ratio_without_feeds": _ratio(per_round["real_without_feeds"], per_round["bare"]),
        "cryptography_ms": cryptography_ms,
        "operation_ms": operations,
    }


def _warm_up_rounds(rate: float) -> int:
    return max(WARM_UP_ROUNDS_MIN, round(WARM_UP_SECONDS * rate))


def _bare(n: int, rate: float, seconds: float) -> Measured:
    command = [sys.executable, str(BARE_PATH), str(n), "--rate", str(rate)]
    done = subprocess.run(
        [*command, "--warm-up", str(_warm_up_rounds(rate) / rate), "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 2 * START_SECONDS_MAX,
    )
    found = json.loads(done.stdout)
    return Measured(found["rounds"], found["latency_ms"], found["cpu_ms"])


def _per_round(measured: Measured) -> dict[str, float]:
    if not measured.rounds:
        raise SystemExit("no round was certified in the measured time: the machine is too slow")
    return {
        "rounds": measured.rounds,
        "p50_ms": _quantile(measured.latency_ms, 0.5),
        "p99_ms": _quantile(measured.latency_ms, 0.99),
        "cpu_ms": measured.cpu_ms / measured.rounds,
    }


def _ratio(real: dict[str, float], bare: dict[str, float]) -> dict[str, float]:
    return {what: real[what] / bare[what] for what in ("p50_ms", "p99_ms", "cpu_ms")}


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else 0.0


# A slow network.


def _delayed(n: int, given: argparse.Namespace) -> dict[str, float]:
    delay_ms = given.delay_ms
    with tempfile.TemporaryDirectory(prefix="didyma-bench-") as root:
        rate = given.rate or DELAYED_RATE
        with running(n, rate, given.quotes, Path(root), delay_ms) as cluster:
            cluster.wait_for_rounds(_warm_up_rounds(rate), START_SECONDS_MAX)
            measured = cluster.measure(given.seconds)
            per_round = _per_round(measured)
            cluster.kill_leader()
            gap_ms = cluster.greatest_gap_ms(KILLED_SECONDS)
    return {
        "n": n,
        "delay_ms": delay_ms,
        "rounds": measured.rounds,
        "certificate_ms": per_round["p50_ms"],
        "commit_ms": _quantile(measured.commit_ms, 0.5),
        "killed_gap_ms": gap_ms,
        "timeout_ms": timing_for(rate).base_timeout_ms,
    }


def _delayed_table(results: Sequence[dict[str, float]]) -> str:
    lines = []
    for row in results:
        delay = row["delay_ms"]
        lines.append(f"n = {row['n']}, {delay:g} ms between members, {row['rounds']} rounds")
        for label, name, bound in (
            ("certificate p50, ms", "certificate_ms", 3 * delay + 20),
            ("commit p50, ms", "commit_ms", 5 * delay + 30),
            ("leader killed, to the next, ms", "killed_gap_ms", row["timeout_ms"] + 5 * delay),
        ):
            lines.append(f"  {label:32}{row[name]:10.1f}   to reach: {bound:.0f}")
    return "\n".join(lines)


# The cryptography alone.


def _operations_per_round(n: int) -> dict[str, int]:
    """Count what a round cannot do without; beyond ten members only two collect votes."""
    return {
        "bls_sign": n,
        "bls_aggregate": n if n <= SMALL_COMMITTEE_MAX else 2,
        "bls_verify": n,
        "ed25519_sign": n + 1,
        "ed25519_verify": n * (n - 1) + (n - 1),
    }


def _operation_ms(n: int) -> dict[str, float]:
    key = PopSchemeMPL.key_gen(bytes(32))
    keys = [PopSchemeMPL.key_gen(sha256(bytes([i])).digest()) for i in range(quorum(n))]
    shares = [bytes(PopSchemeMPL.sign(k, bytes(32))) for k in keys]
    public_keys = [k.get_g1() for k in keys]
    identity = SigningKey(bytes(32))
    signature = identity.sign(bytes(32)).signature

    def aggregate() -> G2Element:
        return PopSchemeMPL.aggregate([G2Element.from_bytes(share) for share in shares])

    signed = aggregate()

    def verify() -> object:
        return PopSchemeMPL.fast_aggregate_verify(public_keys, bytes(32), signed)

    return {
        "bls_sign": _timed(lambda: PopSchemeMPL.sign(key, bytes(32))),
        "bls_aggregate": _timed(aggregate),
        "bls_verify": _timed(verify),
        "ed25519_sign": _timed(lambda: identity.sign(bytes(32))),
        "ed25519_verify": _timed(lambda: identity.verify_key.verify(bytes(32), signature)),
    }


def _timed(operation: Callable[[], object], times: int = 100) -> float:
    begun_ns = time.process_time_ns()
    for _ in range(times):
        operation()
    return (time.process_time_ns() - begun_ns) / times / 1e6


# For people.


def _table(results: Sequence[dict[str, object]], heading: bool) -> str:
    columns = f"{'':34}{'certificate p50':>16}{'p99':>8}{'CPU a round':>14}{'rounds':>8}"
    lines = [columns] if heading else []
    for result in results:
        lines.append(f"n = {result['n']}, {result['rate']:g} rounds a second")
        for name, label in (
            ("bare", "bare path, ms"),
            ("real", "nodes, ms"),
            ("real_without_feeds", "nodes without exchanges, ms"),
        ):
            row: dict[str, float] = result[name]
            lines.append(
                f"  {label:32}{row['p50_ms']:16.1f}{row['p99_ms']:8.1f}"
                f"{row['cpu_ms']:14.1f}{row['rounds']:8}"
            )
        for name, label in (
            ("ratio", "nodes / bare"),
            ("ratio_without_feeds", "without exchanges / bare"),
        ):
            row = result[name]
            lines.append(
                f"  {label:32}{row['p50_ms']:16.2f}{row['p99_ms']:8.2f}{row['cpu_ms']:14.2f}"
            )
        lines.append(f"  {'cryptography alone, ms':56}{result['cryptography_ms']:16.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
