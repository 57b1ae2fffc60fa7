"""Look at everything that a node needs, and say what to do about what is wrong."""

from pathlib import Path

import click

from node.cli.config_option import config_option
from node.cli.exit_codes import ExitCode
from node.cli.output import emit, json_option, wants_json

_MARKS = {"ok": "ok  ", "warning": "warn", "failed": "FAIL", "skipped": "-   "}


@click.command()
@config_option
@json_option
@click.pass_context
def doctor(context: click.Context, config_file: Path) -> None:
    """Look at everything that a node needs, and say what to do about what is wrong.

    Files and keys, disk, ports, clock, the other members, the chains and the exchanges. It changes
    nothing, and may be used while the node runs. The exit status is 0 if nothing failed.
    """
    import asyncio
    import logging

    from node.config_file import load_config
    from node.doctor.examination import examine, read_patient
    from node.doctor.finding import Finding, Grade

    patient = read_patient(config := load_config(config_file), _answers(config_file))

    async def look() -> list[Finding]:
        found = []
        async for finding in examine(patient):
            found.append(finding)
            if not wants_json():
                click.echo(_line(finding.grade, finding.topic, finding.said, finding.remedy))
        return found

    # The findings say it all; what the connections would log meanwhile is a node's.
    logging.getLogger("feeds").setLevel(logging.CRITICAL)
    found = asyncio.run(look())
    bad = sum(finding.grade is Grade.FAILED for finding in found)
    warned = sum(finding.grade is Grade.WARNING for finding in found)
    emit(
        {
            "config": str(config_file),
            "member": config.node.member,
            "ok": not bad,
            "failed": bad,
            "warnings": warned,
            "findings": [
                {
                    "topic": finding.topic,
                    "grade": finding.grade.value,
                    "said": finding.said,
                    "remedy": finding.remedy,
                }
                for finding in found
            ],
        },
        f"\n{bad} failed, {warned} warnings" if bad or warned else "\nAll is well.",
    )
    context.exit(ExitCode.FAILURE if bad else ExitCode.OK)


def _line(grade: str, topic: str, said: str, remedy: str) -> str:
    printable = "".join(char for char in said if char.isprintable())
    line = f"{_MARKS[grade]}  {topic:<20}  {printable}"
    return f"{line}\n{'':<28}→ {remedy}" if remedy else line


def _answers(config_file: Path) -> bool:
    """Whether a node runs that answers at the configuration's control listener."""
    from node.cli.node_client import get
    from node.cli.node_url import node_url
    from node.errors import NodeUnreachable

    try:
        get(node_url(None, config_file, "control"), "/v1/status", 2)
    except NodeUnreachable:
        return False
    return True
