"""Change the committee: make, sign, propose and approve the next epoch's configuration."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.config_option import config_option
from node.cli.network import parse_timing
from node.cli.output import emit, json_option
from node.cli.status import lines_of

if TYPE_CHECKING:
    from node.epoch_file import EpochFile

_DAY_MS = 86_400_000
_file = click.Path(path_type=Path, dir_okay=False)
_url_option = click.option("--url", help="The control listener; by default the configuration's.")


@click.group()
def committee() -> None:
    """Change the committee, its feeds or its timing, at the end of an epoch.

    One operator runs `create`; members that are new run `sign`; anyone runs `propose` on a running
    member. Each operator looks at it with `show` and `status` and then runs `approve`. With a
    quorum's approval the next leader has it decided, and all go on to the next epoch.
    """


@committee.command()
@click.option(
    "--base",
    type=_file,
    required=True,
    help="The committee in office: the committee file, or the last epoch's configuration.",
)
@click.option("--add", "added", multiple=True, type=_file, help="A new member's registration.")
@click.option("--remove", "removed", multiple=True, metavar="NAME", help="A member that leaves.")
@click.option("--catalogue", type=_file, help="The feeds, as TOML; by default those in office.")
@click.option("--timing", "timings", multiple=True, metavar="NAME=MS", help="May be repeated.")
@click.option("--valid-days", type=click.IntRange(1, 36_500), default=365, show_default=True)
@click.option("--out", type=_file, default="next.json", show_default=True)
@json_option
def create(
    base: Path,
    added: tuple[Path, ...],
    removed: tuple[str, ...],
    catalogue: Path | None,
    timings: tuple[str, ...],
    valid_days: int,
    out: Path,
) -> None:
    """Write the next epoch's configuration, which new members then sign."""
    from dataclasses import asdict, replace

    from feeds.catalogue import load_catalogue
    from node import epoch_file
    from node.errors import NetworkFileError
    from node.registration import load_registration

    office = epoch_file.load_base(base)
    epoch = office.epoch if isinstance(office, epoch_file.EpochFile) else 0
    table, names = office.table, office.member_names
    for member in removed:
        if member not in names:
            raise NetworkFileError(
                f"{member!r} is no member in {base}; its members are {', '.join(names)}"
            )
    if catalogue is not None:
        try:
            table = load_catalogue(catalogue)
        except (ValueError, OSError) as error:
            raise NetworkFileError(f"the catalogue is not usable: {error}") from None
    # What a newcomer signed before was for no network in particular.
    newcomers = [replace(load_registration(path), registration=None) for path in added]
    made = epoch_file.EpochFile(
        office.name,
        office.network,
        epoch + 1,
        max(time.time_ns() // 1_000_000 + valid_days * _DAY_MS, office.valid_until_ms + 1),
        parse_timing(timings, asdict(office.timing)),
        table,
        (*(member for member in office.members if member.name not in removed), *newcomers),
    )
    epoch_file.save(out, made)
    signs = ", ".join(made.unsigned)
    _emit_file(
        made,
        out,
        f"Wrote {out}. "
        + (f"Next `didyma committee sign` by {signs}." if signs else "Nobody has to sign it."),
    )


@committee.command()
@click.argument("path", type=_file)
@config_option
@json_option
def sign(path: Path, config_file: Path) -> None:
    """Sign a configuration that lists you as a new member, with the configuration's BLS key."""
    from node import epoch_file
    from node.config_file import load_config
    from node.errors import KeyFileError
    from node.keys.bls_key import load_bls_key
    from node.keys.password import read_password

    config = load_config(config_file)
    if config.keys.bls is None or config.keys.bls_password_file is None:
        raise KeyFileError(f"{config_file} names no BLS key; set keys.bls")
    key = load_bls_key(config.keys.bls, read_password(config.keys.bls_password_file))
    signed = epoch_file.sign(epoch_file.load(path), key)
    epoch_file.save(path, signed, replace=True)
    _emit_file(signed, path, f"Signed {path}.")


@committee.command()
@click.argument("copies", nargs=-1, required=True, type=_file)
@click.option("--out", type=_file, required=True)
@json_option
def merge(copies: tuple[Path, ...], out: Path) -> None:
    """Unite COPIES of one configuration that new members have signed apart."""
    from node import epoch_file

    united = epoch_file.merge([epoch_file.load(path) for path in copies])
    epoch_file.save(out, united)
    _emit_file(united, out, f"Wrote {out}.")


@committee.command()
@click.argument("path", type=_file)
@json_option
def show(path: Path) -> None:
    """Check every proof in a configuration, or in a committee file, and show what it says."""
    from node import epoch_file
    from node.cli.network import emit_network

    file = epoch_file.load_base(path)
    if not isinstance(file, epoch_file.EpochFile):
        emit_network(file, path, f"{path} is valid. It is of the first epoch.")
        return
    if not file.unsigned:
        file.check_proofs()
    missing = f"not signed yet by {', '.join(file.unsigned)}" if file.unsigned else "valid"
    _emit_file(file, path, f"{path} is {missing}.")


@committee.command()
@click.argument("path", type=_file)
@_url_option
@config_option
@json_option
def propose(path: Path, url: str | None, config_file: Path) -> None:
    """Propose the configuration in PATH through a running member, which tells the others."""
    from node import epoch_file
    from node.cli.node_client import post
    from node.cli.node_url import node_url

    file = epoch_file.load(path)
    file.check_proofs()
    base = node_url(url, config_file, "control")
    answer = post(base, "/v1/handover/propose", epoch_file.encode(file))
    emit(answer, "\n".join(["Proposed.", *lines_of(answer)]))


@committee.command()
@click.argument("configuration")
@_url_option
@config_option
@json_option
def approve(configuration: str, url: str | None, config_file: Path) -> None:
    """Approve, in this member's name, of the proposed CONFIGURATION.

    Give its hash, from `status`, or the file that you looked at: then what is proposed must be what
    is in the file. An approval that was sent may be used until the epoch ends, also if the member
    approves of another configuration later.
    """
    import json

    from node.cli.node_client import post
    from node.cli.node_url import node_url

    base = node_url(url, config_file, "control")
    content = json.dumps({"configuration": _hash_in(configuration)}).encode()
    answer = post(base, "/v1/handover/approve", content)
    missing = answer.get("approvals_missing") if isinstance(answer, dict) else None
    headline = "Approved; a quorum approves, so the next leader has it decided."
    if missing:
        headline = f"Approved; {missing} more {'is' if missing == 1 else 'are'} needed."
    emit(answer, "\n".join([headline, *lines_of(answer)]))


def _hash_in(configuration: str) -> str:
    from node import epoch_file

    text = configuration.lower()
    if re.fullmatch(r"0x[0-9a-f]{64}", text):
        return text
    if Path(configuration).is_file():
        return "0x" + epoch_file.load(Path(configuration)).configuration.hash.hex()
    raise click.BadParameter(
        f"{configuration!r} is neither a hash (0x and 64 hexadecimal digits, see `didyma committee "
        "status`) nor a file",
        param_hint="CONFIGURATION",
    )


@committee.command()
@_url_option
@config_option
@json_option
def status(url: str | None, config_file: Path) -> None:
    """Show the epoch in office, how fair its leaders are, what is to follow it, and who approves.

    The table of fairness has a row for each leader: how many of its last final blocks are
    accounted, and what share of each member's observations it included, of those that came in time.
    """
    from node.cli.fairness import fairness_lines
    from node.cli.node_client import get
    from node.cli.node_url import node_url
    from node.errors import CheckFailed

    base = node_url(url, config_file, "control")
    answer = get(base, "/v1/handover", 5)
    text = lines_of(answer)
    try:
        fairness = get(base, "/v1/fairness", 5)
        text += fairness_lines(fairness)
    except CheckFailed:
        fairness = None  # The node is still starting; what is proposed it knows all the same.
    emit({**answer, "fairness": fairness}, "\n".join(line.rstrip() for line in text))


@committee.command()
@click.option(
    "--network",
    "network_path",
    type=_file,
    default="network.json",
    show_default=True,
    help="The committee file, from a source that you trust.",
)
@click.option("--out", type=_file, help="Keep what the node said, for `didyma reports verify`.")
@click.option("--url", help="The API listener of any node; by default the configuration's.")
@config_option
@json_option
def history(network_path: Path, out: Path | None, url: str | None, config_file: Path) -> None:
    """Show every epoch, each proven by the one before it, from the committee file on."""
    from node import epoch_history, network_file
    from node.cli.epoch_pages import fetch_history
    from node.cli.node_url import node_url
    from node.validity import day_of

    network = network_file.load(network_path)
    page = fetch_history(node_url(url, config_file, "api"))
    epochs = epoch_history.follow(network, page)
    if out is not None:
        epoch_history.save(out, page)
    ended = {entry.epoch: entry.ended for entry in page.epochs}
    rows = []
    for epoch in epochs:
        how = ended.get(epoch.context.epoch)
        rows.append(
            {
                "epoch": epoch.context.epoch,
                "configuration": "0x" + epoch.context.configuration.hash.hex(),
                "began": day_of(epoch.context.genesis_time_ms),
                "valid_until": day_of(epoch.valid_until_ms),
                "quorum": epoch.context.q,
                "members": list(epoch.member_names),
                "handed_over_by": [] if how is None else list(how.signers),
            }
        )
    document = {"network": "0x" + network.network.hex(), "epochs": rows}
    emit(document, "\n".join(["Every proof holds.", *lines_of(document)]))


def _emit_file(file: "EpochFile", path: Path, headline: str) -> None:
    from node.handover_control import describe

    document = {"file": str(path), **describe(file), "unsigned": list(file.unsigned)}
    emit(document, "\n".join([headline, *lines_of(document)]))
