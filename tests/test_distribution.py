"""What is installed is complete: the command, its plug-in and every package's data."""

from importlib import metadata, resources

import pytest

PACKAGES = ["aggregation", "consensus", "contracts", "feeds", "node", "testnet"]


def test_the_command_and_its_plug_in_can_be_loaded() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="didyma")
    (plug_in,) = metadata.entry_points(group="didyma.commands", name="testnet")
    assert callable(command.load())
    assert plug_in.load().name == "testnet"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (resources.files(package) / "py.typed").is_file()


@pytest.mark.parametrize(
    "path",
    [
        "contracts/artifacts/Oracle.json",
        "contracts/src/IOracle.sol",
        "feeds/catalogue.toml",
        "node/api/page/index.html",
        "node/api/page/app.js",
        "testnet/data/btc_usd_1m_2022-01.csv.gz",
    ],
)
def test_data_is_installed_beside_the_code(path: str) -> None:
    package, _, name = path.partition("/")
    assert (resources.files(package) / name).is_file()
