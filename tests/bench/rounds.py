"""Rounds of real nodes beside the bare protocol, in one run: latency and CPU, and their ratios.

    make bench                                   four and seven members, four rounds a second
    make bench ARGS="--members 4 --seconds 30"   longer; --json for machines

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

BARE_PATH = Path(__file__).with_name("bare_path.py")
START_SECONDS_MAX = 120.0
WARM_UP_ROUNDS = 12
SETTLE_SECONDS = 4.0
"""After the exchanges have gone, so that closing connections is not counted."""


def main() -> int:
    given = _arguments()
    operations = _operation_ms()
    results = [_compare(n, given, operations) for n in given.members]
    if given.json:
        print(json.dumps({"operation_ms": operations, "committees": results}))
    else:
        print(_table(results))
        cost = ", ".join(f"{name} {ms:.2f}" for name, ms in operations.items())
        print(f"\ncryptography alone, ms: {cost}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, nargs="+", default=[4, 7], metavar="N")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each measurement")
    parser.add_argument("--rate", type=float, default=4.0, help="rounds a second")
    parser.add_argument("--quotes", type=float, default=200.0, help="quotes a second and node")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    if not all(4 <= n <= 31 for n in given.members) or not 0 < given.rate <= 50:
        parser.error("a committee has 4 to 31 members here, and up to 50 rounds a second")
    if not 1 <= given.seconds <= 3600:
        parser.error("measure for 1 to 3600 seconds")
    return given


def _compare(n: int, given: argparse.Namespace, operations: dict[str, float]) -> dict[str, object]:
    bare = _bare(n, given)
    with tempfile.TemporaryDirectory(prefix="didyma-bench-") as root:
        with running(n, given.rate, given.quotes, Path(root)) as cluster:
            cluster.wait_for_rounds(WARM_UP_ROUNDS, START_SECONDS_MAX)
            real = cluster.measure(given.seconds)
            cluster.stop_exchanges()
            time.sleep(SETTLE_SECONDS)
            without_feeds = cluster.measure(given.seconds / 2)
    per_round = {
        "bare": _per_round(bare),
        "real": _per_round(real),
        "real_without_feeds": _per_round(without_feeds),
    }
    cryptography_ms = sum(
        count * operations[name] for name, count in _operations_per_round(n).items()
    )
    return {
        "n": n,
        **per_round,
        "ratio": _ratio(per_round["real"], per_round["bare"]),
        "ratio_without_feeds": _ratio(per_round["real_without_feeds"], per_round["bare"]),
        "cryptography_ms": cryptography_ms,
    }


def _bare(n: int, given: argparse.Namespace) -> Measured:
    command = [sys.executable, str(BARE_PATH), str(n), "--rate", str(given.rate)]
    done = subprocess.run(
        [*command, "--seconds", str(given.seconds)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=given.seconds + 2 * START_SECONDS_MAX,
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


# The cryptography alone.


def _operations_per_round(n: int) -> dict[str, int]:
    """Count what a round of up to ten members cannot do without."""
    return {
        "bls_sign": n,
        "bls_aggregate_and_verify": n,
        "ed25519_sign": n + 1,
        "ed25519_verify": n * (n - 1) + (n - 1),
    }


def _operation_ms() -> dict[str, float]:
    key = PopSchemeMPL.key_gen(bytes(32))
    keys = [PopSchemeMPL.key_gen(sha256(bytes([i])).digest()) for i in range(quorum(4))]
    shares = [bytes(PopSchemeMPL.sign(k, bytes(32))) for k in keys]
    public_keys = [k.get_g1() for k in keys]
    identity = SigningKey(bytes(32))
    signature = identity.sign(bytes(32)).signature

    def certify() -> object:
        aggregate = PopSchemeMPL.aggregate([G2Element.from_bytes(share) for share in shares])
        return PopSchemeMPL.fast_aggregate_verify(public_keys, bytes(32), aggregate)

    return {
        "bls_sign": _timed(lambda: PopSchemeMPL.sign(key, bytes(32))),
        "bls_aggregate_and_verify": _timed(certify),
        "ed25519_sign": _timed(lambda: identity.sign(bytes(32))),
        "ed25519_verify": _timed(lambda: identity.verify_key.verify(bytes(32), signature)),
    }


def _timed(operation: Callable[[], object], times: int = 100) -> float:
    begun_ns = time.process_time_ns()
    for _ in range(times):
        operation()
    return (time.process_time_ns() - begun_ns) / times / 1e6


# For people.


def _table(results: Sequence[dict[str, object]]) -> str:
    heading = f"{'':34}{'certificate p50':>16}{'p99':>8}{'CPU a round':>14}{'rounds':>8}"
    lines = [heading]
    for result in results:
        lines.append(f"n = {result['n']}")
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
