"""Run one persona's node until it is told to stop."""

import argparse
import sys
from pathlib import Path

from node.errors import OperatorError
from testnet.personas.catalogue import PERSONAS


def main() -> int:
    """Run the node; exit status 1 for what an operator can mend."""
    parser = argparse.ArgumentParser(prog="python -m testnet.personas", description=__doc__)
    parser.add_argument("persona", choices=sorted(PERSONAS))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--when", type=Path, required=True, help="misbehave once this file exists")
    parser.add_argument("--seed", default="", help="decides what is left to chance")
    arguments = parser.parse_args()
    from node.config_file import load_config
    from node.daemon import run
    from testnet.personas.registry import Order, edges_of

    try:
        edges = edges_of(arguments.persona, arguments.seed, Order(arguments.when))
        run(load_config(arguments.config), edges=edges)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
