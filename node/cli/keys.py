"""Make, list and show keys; export a registration."""

from pathlib import Path

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option


@click.group()
def keys() -> None:
    """Make, list and show keys; export a registration. No command prints a secret."""


@keys.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Protect all keys with the password in this file, instead of one random one for each.",
)
@json_option
def new(directory: Path, password_file: Path | None) -> None:
    """Make new keys in DIRECTORY/keys, with their passwords in DIRECTORY/passwords.

    Prints the [keys] table for node.toml. Nothing that exists is overwritten.
    """
    from node.keys.key_set import KeyPaths, generate_keys, save_keys
    from node.keys.password import read_password

    password = None if password_file is None else read_password(password_file)
    directory = directory.absolute()
    paths = KeyPaths(directory / "keys", directory / "passwords")
    section = save_keys(generate_keys(), paths, password)
    table = {name: str(path) for name, path in section}
    text = "\n".join(f'{name} = "{path}"' for name, path in table.items())
    emit({"keys": table}, f"Made three keys. For node.toml:\n\n[keys]\n{text}")


@keys.command("list")
@config_option
@json_option
def list_keys(config_file: Path) -> None:
    """List the key files of the configuration and their public keys; needs no password."""
    found = _public_keys(config_file)
    width = max(len(row["path"]) for row in found)
    text = "\n".join(f"{row['kind']:<9} {row['path']:<{width}}  {row['public']}" for row in found)
    emit({"keys": found}, text)


@keys.command()
@click.argument("kind", type=click.Choice(["identity", "bls", "account"]))
@config_option
@json_option
def show(kind: str, config_file: Path) -> None:
    """Print the public key of one kind (the address, for the account); needs no password."""
    from node.errors import KeyFileError

    for row in _public_keys(config_file):
        if row["kind"] == kind:
            emit(row, row["public"])
            return
    raise KeyFileError(f"{config_file} names no {kind} key; see keys.{kind}")


@keys.command("export-registration")
@config_option
@click.option("--name", help="The member's name; by default node.member of the configuration.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a file instead of standard output.",
)
@json_option
def export_registration(config_file: Path, name: str | None, out: Path | None) -> None:
    """Export the signed registration that a committee file is assembled from.

    It holds public keys, a proof of possession and a signature, and no secret.
    """
    from node.config import check_name
    from node.config_file import load_config
    from node.keys.key_set import load_keys
    from node.public_file import write_atomically
    from node.registration import encode_registration, register

    config = load_config(config_file)
    name = name or config.node.member
    if name is None:
        raise click.UsageError("give --name, or set node.member in the configuration")
    try:
        check_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--name") from None
    content = encode_registration(register(name, load_keys(config.keys)))
    if out is None:
        click.echo(content, nl=False)
        return
    write_atomically(out, content, replace=False)
    emit({"registration": str(out), "member": name}, f"Wrote the registration of {name} to {out}.")


def _public_keys(config_file: Path) -> list[dict[str, str]]:
    from node.addresses import format_address
    from node.config_file import load_config
    from node.keys.account_key import account_address_of
    from node.keys.bls_key import bls_public_key_of
    from node.keys.identity_key import identity_public_key_of

    section = load_config(config_file).keys
    identity = identity_public_key_of(section.identity)
    shown = "(named only inside the encrypted file)" if identity is None else "0x" + identity.hex()
    found = [{"kind": "identity", "path": str(section.identity), "public": shown}]
    if section.bls is not None:
        public = "0x" + bls_public_key_of(section.bls).hex()
        found.append({"kind": "bls", "path": str(section.bls), "public": public})
    if section.account is not None:
        public = format_address(account_address_of(section.account))
        found.append({"kind": "account", "path": str(section.account), "public": public})
    return found
