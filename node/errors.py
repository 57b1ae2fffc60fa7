"""What an operator can mend, told apart from what is our own fault.

The command line shows these without a traceback and maps each class to an exit code.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to do about it.

    `where` is a place that an operator can open (`node.toml:12`, a path, an environment variable);
    `key` the setting concerned, if there is one.
    """

    where: str
    message: str
    key: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{self.where}: {key}{self.message}{remedy}"


class OperatorError(Exception):
    """Something that an operator can mend; its text says how. Never holds a secret."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])


class ConfigurationError(OperatorError):
    """The configuration, a key file or the committee file cannot be used as it is."""


class ConfigFileError(ConfigurationError):
    """`node.toml` or a `DIDYMA_*` override is wrong."""


class KeyFileError(ConfigurationError):
    """A key or password file is missing, readable by others, damaged, or in the way."""


class NetworkFileError(ConfigurationError):
    """A committee file or a registration is malformed, or one of its proofs does not hold."""


class NodeUnreachable(OperatorError):
    """The node's API or control listener did not answer."""


class CheckFailed(OperatorError):
    """What was to be checked does not hold."""


class MemberHeld(OperatorError):
    """The member may sign elsewhere: nothing is signed here until its operator says so."""
