"""Runs random scenarios until one fails: `scenarios.py KIND MEMBERS COUNT`; 1 if one did."""

import sys

from testnet.long_run import KINDS
from testnet.simulation import SimulationFailed


def main(kind: str, members: int, count: int) -> int:
    for number in range(1, count + 1):
        try:
            KINDS[kind](members, number, None)()
        except SimulationFailed as error:
            print(f"scenario {number}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
