"""The package as a protocol's developer gets it: packed, installed, compiled and tested with."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).parents[2] / "contracts"
README = CONTRACTS / "README.md"
FORGE = CONTRACTS / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin" / "forge"

pytestmark = [pytest.mark.slow, pytest.mark.checkout]

# Solidity's compiler as Hardhat has it: imports are found as node finds packages.
COMPILE = """
const { readFileSync } = require("node:fs");
const solc = require(process.argv[1]);
const given = JSON.parse(readFileSync(0, "utf8"));
const input = {
  language: "Solidity",
  sources: given.sources,
  settings: { ...given.settings, outputSelection: { "*": { "*": ["evm.bytecode.object"] } } },
};
const find = (path) => {
  try {
    return { contents: readFileSync(`node_modules/${path}`, "utf8") };
  } catch (error) {
    return { error: String(error) };
  }
};
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: find }));
console.log(JSON.stringify((output.errors ?? []).map((one) => one.formattedMessage)));
"""

# No settings of ours but those that the README asks for.
FOUNDRY = """
[profile.default]
src = "src"
test = "src"
evm_version = "prague"
offline = true
remappings = ["didyma-contracts/=node_modules/didyma-contracts/"]
"""


def run(command: Sequence[str | Path], folder: Path, given: str = "") -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shown(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def sources() -> dict[str, str]:
    """Return the README's contracts by their file's name, which is that of the last contract."""
    return {
        re.findall(r"^contract (\w+)", text, re.MULTILINE)[-1]: text for text in shown("solidity")
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one's own with the package installed and the README's contracts."""
    if shutil.which("npm") is None or not (CONTRACTS / "node_modules" / "solc").is_dir():
        pytest.skip("npm or solc is not installed: `npm install` in contracts/")
    folder = tmp_path_factory.mktemp("project")
    (packed,) = json.loads(run(["npm", "pack", "--json", CONTRACTS], folder))
    (folder / "package.json").write_text('{"name": "protocol", "version": "1.0.0"}')
    tarball = f"./{packed['filename']}"
    run(["npm", "install", "--offline", "--no-audit", "--no-fund", tarball], folder)
    (folder / "src").mkdir()
    for name, text in sources().items():
        (folder / "src" / f"{name}.sol").write_text(text)
    return folder


def test_the_package_holds_what_it_should_and_nothing_else(project: Path) -> None:
    installed = project / "node_modules" / "didyma-contracts"
    found = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {"src/IOracle.sol", "src/Oracle.sol", "kit/OracleKit.sol", "kit/OracleCode.sol"} <= found
    assert {"artifacts/Oracle.json", "package.json", "README.md"} <= found
    assert all(
        name.startswith(("src/", "kit/", "artifacts/")) or name in ("package.json", "README.md")
        for name in found
    )
    code = json.loads((installed / "artifacts" / "Oracle.json").read_text())["bytecode"][2:]
    assert code in (installed / "kit" / "OracleCode.sol").read_text()


@pytest.mark.parametrize("via_ir", [False, True])
def test_the_readme_s_contracts_compile_with_it(project: Path, via_ir: bool) -> None:
    settings = {"viaIR": via_ir, "optimizer": {"enabled": via_ir}}
    texts = {f"{name}.sol": {"content": text} for name, text in sources().items()}
    assert texts.keys() >= {"Reader.sol", "Market.sol", "MarketTest.sol"}
    node = shutil.which("node") or "node"
    solc = CONTRACTS / "node_modules" / "solc"
    given = json.dumps({"sources": texts, "settings": settings})
    errors = json.loads(run([node, "-e", COMPILE, solc], project, given))
    # A test may be larger than what is deployed on a chain.
    sizes = ("exceeds 24576 bytes", "exceeds 49152 bytes")
    assert [error for error in errors if not any(size in error for size in sizes)] == []


def test_a_copy_of_the_interface_will_do_as_well(project: Path) -> None:
    reader = sources()["Reader"].replace("didyma-contracts/src/", "./")
    texts = {
        "Reader.sol": {"content": reader},
        "IOracle.sol": {"content": (CONTRACTS / "src" / "IOracle.sol").read_text("utf-8")},
    }
    given = json.dumps({"sources": texts, "settings": {}})
    solc = CONTRACTS / "node_modules" / "solc"
    assert json.loads(run(["node", "-e", COMPILE, solc], project, given)) == []


def test_the_readme_s_test_passes_in_forge(project: Path) -> None:
    forge = os.environ.get("DIDYMA_FORGE") or shutil.which("forge") or str(FORGE)
    solc = os.environ.get("DIDYMA_SOLC") or str(CONTRACTS / "tools" / "solc.mjs")
    if not (Path(forge).is_file() and Path(solc).is_file()):
        pytest.skip("forge or a compiler for it is not installed; see contracts/README.md")
    (project / "foundry.toml").write_text(FOUNDRY)
    output = run([forge, "test", "--use", solc, "--json"], project)
    results = json.loads(output)
    (tests,) = [
        suite["test_results"] for name, suite in results.items() if name.endswith(":MarketTest")
    ]
    assert len(tests) == 5
    assert {result["status"] for result in tests.values()} == {"Success"}
