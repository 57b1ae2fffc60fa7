"""Runs a command that the kernel kills when the process that started it is gone.

`python -I -S tether.py PARENT_PID COMMAND …`, with the standard library alone: it becomes the
command within milliseconds. So no process of a testnet outlives its launcher, SIGKILL included.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    # The launcher starts processes from its main thread, which lives as long as it does.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
