"""What the models say: `python -m testnet.model`, see consensus/VERIFICATION.md."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from testnet.model import tlc
from testnet.model.certificates import Bounds
from testnet.model.handover import EndMistake, find_second_end
from testnet.model.mistakes import Mistake
from testnet.model.run import Run
from testnet.model.solving import find_breach

PROVED = (Bounds(4, 12), Bounds(5, 9), Bounds(7, 9), Bounds(10, 8))
ENDED = (Bounds(4, 8), Bounds(5, 6), Bounds(7, 6))
SPECIFIED = (
    ("MCDidyma", "Safety.cfg"),
    ("MCDidyma", "Equivocation.cfg"),
    ("DidymaLive", "Liveness.cfg"),
)


def main() -> int:
    """Prove what is promised, show each mistake, and check the specification; 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m testnet.model", description=main.__doc__)
    parser.add_argument("--bounds", nargs=2, type=int, metavar=("MEMBERS", "VIEWS"))
    parser.add_argument("--spec", action="store_true", help="also run TLC, which takes minutes")
    arguments = parser.parse_args()
    proved = (Bounds(*arguments.bounds),) if arguments.bounds else PROVED
    verdicts = [_prove(bounds) for bounds in proved]
    verdicts += [_prove_one_end(bounds) for bounds in (ENDED if not arguments.bounds else proved)]
    if not arguments.bounds:
        verdicts += [_show(mistake) for mistake in Mistake]
        verdicts += [_show_two_ends(left_out) for left_out in EndMistake]
    if arguments.spec:
        verdicts += [_check(module, configuration) for module, configuration in SPECIFIED]
    return 0 if all(verdicts) else 1


def _prove(bounds: Bounds) -> bool:
    begun = time.monotonic()
    run = find_breach(bounds)
    verdict = "unique and final" if run is None else f"BROKEN\n{run.text()}"
    print(f"{bounds}: {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
    return run is None


def _prove_one_end(bounds: Bounds) -> bool:
    begun = time.monotonic()
    run = find_second_end(bounds)
    verdict = "the epoch has one end" if run is None else f"BROKEN\n{run.text()}"
    print(f"{bounds}: {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
    return run is None


def _show_two_ends(left_out: EndMistake) -> bool:
    run = find_second_end(Bounds(4, 4), left_out=left_out)
    text = run.text().replace("\n", "\n    ") if run is not None else "NOT SEEN"
    print(f"\n{left_out.value}\n    {text}", flush=True)
    return run is not None


def _show(mistake: Mistake) -> bool:
    run = _smallest_breach(mistake)
    text = run.text().replace("\n", "\n    ") if run is not None else "NOT SEEN"
    print(f"\n{mistake.value}\n    {text}", flush=True)
    return run is not None


def _smallest_breach(mistake: Mistake) -> Run | None:
    n = 5 if mistake is Mistake.SMALL_QUORUM else 4
    for views in range(1, 6):
        run = find_breach(Bounds(n, views), mistake)
        if run is not None:
            return run
    return None


def _check(module: str, configuration: str) -> bool:
    with tempfile.TemporaryDirectory() as workspace:
        outcome = tlc.check(module, configuration, {}, Path(workspace))
    verdict = (
        "holds" if outcome.violated is None else f"{outcome.violated} BROKEN\n{outcome.output}"
    )
    print(
        f"\n{module} with {configuration}, {outcome.distinct_states} states: {verdict}", flush=True
    )
    return outcome.violated is None


if __name__ == "__main__":
    sys.exit(main())
