"""Assemble and sign a committee file."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option

if TYPE_CHECKING:
    from consensus.committee import Timing
    from node.network_file import NetworkFile

_DAY_MS = 86_400_000
_file = click.Path(path_type=Path, dir_okay=False)


@click.group()
def network() -> None:
    """Assemble and sign a committee file.

    One operator runs `create` on everybody's registrations and hands the file round; each member
    runs `sign`; `merge` unites copies that were signed apart.
    """


@network.command()
@click.option("--name", required=True, help="The network's name; part of its id.")
@click.option(
    "--member",
    "members",
    multiple=True,
    required=True,
    type=_file,
    help="A member's registration file; once for each member, in the committee's order.",
)
@click.option("--catalogue", type=_file, help="The feeds, as TOML; by default those shipped.")
@click.option("--out", type=_file, default="network.json", show_default=True)
@click.option(
    "--valid-days",
    type=click.IntRange(1, 36_500),
    default=365,
    show_default=True,
    help="For how long contracts take this committee's reports.",
)
@click.option(
    "--timing",
    "timings",
    multiple=True,
    metavar="NAME=MS",
    help="A timing parameter, for example round_interval_ms=500; may be repeated.",
)
@json_option
def create(
    name: str,
    members: tuple[Path, ...],
    catalogue: Path | None,
    out: Path,
    valid_days: int,
    timings: tuple[str, ...],
) -> None:
    """Assemble a committee file from registrations; its members then sign it."""
    from feeds.catalogue import load_catalogue
    from node import network_file
    from node.errors import NetworkFileError
    from node.registration import load_registration

    timing = parse_timing(timings)
    try:
        table = load_catalogue(catalogue)
    except (ValueError, OSError) as error:
        raise NetworkFileError(f"the catalogue is not usable: {error}") from None
    now_ms = time.time_ns() // 1_000_000
    made = network_file.create(
        name,
        [load_registration(path) for path in members],
        table,
        genesis_time_ms=now_ms,
        valid_until_ms=now_ms + valid_days * _DAY_MS,
        timing=timing,
    )
    network_file.save(out, made)
    emit_network(made, out, f"Wrote {out}. Each member now runs `didyma network sign`.")


@network.command()
@click.option(
    "--network", "path", type=_file, help="The committee file; by default the configuration's."
)
@click.option("--out", type=_file, help="Write a copy instead of adding to the file itself.")
@config_option
@json_option
def sign(path: Path | None, out: Path | None, config_file: Path) -> None:
    """Sign a committee file with the configuration's BLS key.

    Look at `didyma network show` first: the signature says that you take part in this network.
    """
    from node import network_file
    from node.config_file import load_config
    from node.errors import KeyFileError
    from node.keys.bls_key import load_bls_key
    from node.keys.password import read_password

    config = load_config(config_file)
    if config.keys.bls is None or config.keys.bls_password_file is None:
        raise KeyFileError(f"{config_file} names no BLS key; set keys.bls")
    path = path or config.node.network_file
    unsigned = network_file.load(path, allow_unsigned=True)
    key = load_bls_key(config.keys.bls, read_password(config.keys.bls_password_file))
    signed = network_file.sign(unsigned, key)
    if out is None:
        network_file.save(path, signed, replace=True)
    else:
        network_file.save(out, signed)
    emit_network(signed, out or path, f"Signed {out or path}.")


@network.command()
@click.argument("copies", nargs=-1, required=True, type=_file)
@click.option("--out", type=_file, required=True)
@json_option
def merge(copies: tuple[Path, ...], out: Path) -> None:
    """Unite COPIES of one committee file that members have signed apart."""
    from node import network_file

    united = network_file.merge([network_file.load(path, allow_unsigned=True) for path in copies])
    network_file.save(out, united)
    emit_network(united, out, f"Wrote {out}.")


@network.command()
@click.option("--network", "path", type=_file, default="network.json", show_default=True)
@json_option
def show(path: Path) -> None:
    """Check every proof in a committee file, and show what it says."""
    from node import network_file

    emit_network(network_file.load(path, allow_unsigned=True), path, f"{path} is valid.")


def parse_timing(assignments: tuple[str, ...], base: Mapping[str, int] | None = None) -> "Timing":
    """Return the timing that NAME=MS assignments make of a base, or of the defaults."""
    from consensus.committee import Timing

    numbers: dict[str, int] = dict(base or {})
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or key not in Timing.__slots__ or not value.isdecimal():
            known = ", ".join(Timing.__slots__)
            raise click.BadParameter(
                f"{assignment!r} is not NAME=MS with a NAME of {known}", param_hint="--timing"
            )
        numbers[key] = int(value)
    try:
        return Timing(**numbers)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timing") from None


def emit_network(found: "NetworkFile", path: Path, headline: str) -> None:
    """Print what a committee file says."""
    from node.addresses import format_address
    from node.validity import day_of, days_left

    context = found.context
    left = days_left(found.valid_until_ms, time.time_ns() // 1_000_000)
    document = {
        "file": str(path),
        "name": found.name,
        "network": "0x" + found.network.hex(),
        "genesis": "0x" + context.genesis_id.hex(),
        "epoch": 0,
        "valid_until_ms": found.valid_until_ms,
        "days_left": left,
        "n": context.n,
        "faulty_max": context.f,
        "quorum": context.q,
        "feeds": [feed.pair for feed in found.table.feeds],
        "members": [
            {
                "name": member.name,
                "bls_key": "0x" + member.bls_key.hex(),
                "operator": format_address(member.operator),
                "signed": member.registration is not None,
            }
            for member in found.members
        ],
        "unsigned": list(found.unsigned),
    }
    signatures = f"missing from {', '.join(found.unsigned)}" if found.unsigned else "complete"
    emit(
        document,
        f"""\
{headline}
  network     {found.name} 0x{found.network.hex()}
  genesis     0x{context.genesis_id.hex()}
  epoch       0, the first; later ones: `didyma committee history`
  valid until {day_of(found.valid_until_ms)} ({left} days left)
  members     {", ".join(found.member_names)} (n = {context.n}, quorum {context.q})
  feeds       {", ".join(feed.pair for feed in found.table.feeds)}
  signatures  {signatures}""",
    )
