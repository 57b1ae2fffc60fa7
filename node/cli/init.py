"""Make a node's directory: keys, passwords, configuration."""

import sys
from pathlib import Path

import click

from node.cli.output import emit, json_option

DEFAULT_LISTEN = "/ip4/0.0.0.0/tcp/9400"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="The member's name in the committee.")
@click.option(
    "--listen",
    default=None,
    help=f"The multiaddr at which other members reach this node; by default {DEFAULT_LISTEN}.",
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Protect all keys with the password in this file, instead of one random one for each.",
)
@json_option
def init(directory: Path, name: str | None, listen: str | None, password_file: Path | None) -> None:
    """Make DIRECTORY with new keys, their password files and a commented node.toml.

    Asks for what is not given as an option. Nothing that exists is overwritten.
    """
    from node.config import check_listen_multiaddr, check_name
    from node.keys.password import read_password
    from node.node_directory import create_node_directory

    if name is None:
        if not sys.stdin.isatty():
            raise click.UsageError("give --name, or run this in a terminal and answer questions")
        name = click.prompt("The member's name", err=True)
        if listen is None:
            listen = click.prompt("Listen for members at", default=DEFAULT_LISTEN, err=True)
    assert name is not None
    listen = listen or DEFAULT_LISTEN
    for option, check, value in (
        ("--name", check_name, name),
        ("--listen", check_listen_multiaddr, listen),
    ):
        try:
            check(value)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=option) from None
    password = None if password_file is None else read_password(password_file)
    made = create_node_directory(directory, name, p2p_listen=listen, password=password)
    assert made.keys.bls is not None
    assert made.keys.account is not None
    from node.addresses import format_address

    address = format_address(made.keys.account.address)
    document = {
        "directory": str(made.path),
        "config": str(made.config_file),
        "registration": str(made.registration_file),
        "member": name,
        "bls_key": "0x" + made.keys.bls.public_key.hex(),
        "ed25519_key": "0x" + made.keys.identity.public_key.hex(),
        "operator": address,
    }
    emit(
        document,
        f"""\
Made {made.path} for {name}: configuration, store, three encrypted keys, their passwords.

Next:
  1. Back up {made.path}/keys and {made.path}/passwords, apart from each other.
  2. Give {made.registration_file} (no secrets) to whoever assembles the committee file.
  3. Put the committee file you get back at {made.path}/network.json and sign it:
       didyma network sign --config {made.config_file}
     then return it, and install the file that all members have signed.
  4. Enter the other members' addresses in {made.config_file} ([[p2p.peers]]) and the chains.
  5. Fund the account {address} on each chain that you publish to.
  6. didyma config check --config {made.config_file}
  7. didyma run --config {made.config_file}""",
    )
