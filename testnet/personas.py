"""Byzantine members: the node as it is, with something wrong at its edge.

`python -m testnet.personas liar --config node.toml --when FILE` runs a real node that, from the
moment FILE exists, reports ten times the price of every feed.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from aggregation.observation import Entry
from aggregation.price import UINT64_MAX
from node.errors import OperatorError
from node.runtime import OwnObservation

Wrap = Callable[[OwnObservation], OwnObservation]

LIE_FACTOR = 10


def liar(when: Path) -> Wrap:
    """Return a change of observations that multiplies every price while a file exists."""

    def lie(observation: OwnObservation) -> OwnObservation:
        if not when.exists():
            return observation
        entries = tuple(_inflated(entry) for entry in observation.body.entries)
        return replace(observation, body=replace(observation.body, entries=entries))

    return lie


def _inflated(entry: Entry) -> Entry:
    return entry._replace(price=min(entry.price * LIE_FACTOR, UINT64_MAX))


PERSONAS: dict[str, Callable[[Path], Wrap]] = {"liar": liar}


def main() -> int:
    """Run one persona's node until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m testnet.personas", description=__doc__)
    parser.add_argument("persona", choices=sorted(PERSONAS))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--when", type=Path, required=True, help="misbehave once this file exists")
    arguments = parser.parse_args()
    from node.config_file import load_config
    from node.daemon import run

    try:
        run(load_config(arguments.config), wrap=PERSONAS[arguments.persona](arguments.when))
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
