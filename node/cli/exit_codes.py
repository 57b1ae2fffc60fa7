"""What the exit status of `didyma` means, in one place."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    CONFIGURATION = 3
    UNREACHABLE = 4
    HELD = 5
    INTERRUPTED = 130


MEANING = {
    ExitCode.OK: "done, and what was checked holds",
    ExitCode.FAILURE: "failed, or what was checked does not hold",
    ExitCode.USAGE: "wrong arguments or options",
    ExitCode.CONFIGURATION: "a file that was named is missing or not usable, such as node.toml",
    ExitCode.UNREACHABLE: "the node did not answer",
    ExitCode.HELD: "the member may sign elsewhere, so nothing is signed here; see `didyma safety`",
    ExitCode.INTERRUPTED: "interrupted",
}
