"""Runs random scenarios until one fails: `scenarios.py MEMBERS COUNT`; 1 if one did."""

import sys

from testnet.chaos import chaos
from testnet.simulation import SimulationFailed


def main(members: int, count: int) -> int:
    for number in range(1, count + 1):
        try:
            chaos(members, number)
        except SimulationFailed as error:
            print(f"scenario {number}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
