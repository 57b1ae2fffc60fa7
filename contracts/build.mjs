// Compiles the contracts into the committed artifacts: ABI, creation code and runtime code.
//
//   npm install --no-package-lock && npm run build     writes them
//   npm run check                                      rebuilds them and compares byte for byte
//
// The code carries no metadata, so the same sources give the same bytes on any machine.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const solc = createRequire(import.meta.url)("solc");

const settings = {
  evmVersion: "prague",
  viaIR: true,
  optimizer: { enabled: true, runs: 1_000_000 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  debug: { revertStrings: "strip" },
  outputSelection: {
    "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] },
  },
};

// The harness opens the libraries to tests; it is not shipped, nor is the example's code.
const tests = join(here, "..", "tests", "contracts");
const targets = [
  ...["Oracle", "Accountability", "Guard", "Settlement"].map((name) => (
    { source: `src/${name}.sol`, name, folder: join(here, "artifacts") })),
  ...["ChainlinkAdapter", "ChronicleAdapter", "PythAdapter", "QuoteAdapter"].map((name) => (
    { source: `src/adapters/${name}.sol`, name, folder: join(here, "artifacts") })),
  ...["CrossRate", "InverseFeed", "SequencerGate"].map((name) => (
    { source: `src/derived/${name}.sol`, name, folder: join(here, "artifacts") })),
  { source: "solidity/Harness.sol", name: "Harness", folder: join(tests, "artifacts") },
  { source: "test/OracleOfEpoch.sol", name: "OracleOfEpoch", folder: join(tests, "artifacts") },
  ...["Batch", "SettableReader", "SettableUptime", "Settled", "Token"].map((name) => (
    { source: `solidity/${name}.sol`, name, folder: join(tests, "artifacts") })),
  ...["Consumer", "Perpetual"].map((name) => (
    { source: `src/examples/${name}.sol`, name, folder: join(tests, "artifacts") })),
];

function sourcesUnder(root, folder) {
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(".sol"))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => [
      relative(root, path).replaceAll("\\", "/"),
      { content: readFileSync(path, "utf8") },
    ]);
}

function compile(sources, settings) {
  const input = { language: "Solidity", sources, settings };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  // 2394 warns of transient storage that outlives the call: that is what `use` has it for (O13).
  const findings = (output.errors ?? []).filter(({ errorCode }) => errorCode !== "2394");
  for (const finding of findings) console.error(finding.formattedMessage);
  if (findings.length > 0) process.exit(1);
  return output.contracts;
}

const shipped = Object.fromEntries(sourcesUnder(here, "src"));
// What forge's tests and Python's share.
const shared = Object.fromEntries(["Hasher", "IHasher", "OracleOfEpoch"].map((name) => (
  [`test/${name}.sol`, { content: readFileSync(join(here, "test", `${name}.sol`), "utf8") }])));
const output = compile(
  { ...shipped, ...shared, ...Object.fromEntries(sourcesUnder(tests, "solidity")) },
  settings,
);

let differ = false;

function put(path, text, said) {
  const shown = relative(process.cwd(), path);
  if (process.argv.includes("--check")) {
    let committed = "";
    try {
      committed = readFileSync(path, "utf8");
    } catch {
      // A missing file differs.
    }
    const same = committed === text;
    console.log(`${shown}: ${same ? "as built from the sources" : "differs from the sources"}`);
    differ ||= !same;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`${shown}: ${said}`);
  }
}

// The test kit carries the Oracle as it is shipped, and compiles with whatever settings its users have.
const carried = "kit/OracleCode.sol";
const code = output["src/Oracle.sol"].Oracle.evm.bytecode.object;
const carrier = `// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title The creation code of the Oracle as it is shipped
/// @dev Written by build.mjs from src/Oracle.sol.
library OracleCode {
    bytes internal constant CREATION =
        hex"${code}";
}
`;
put(join(here, carried), carrier, `${code.length / 2} bytes of the Oracle`);
const kit = compile(
  {
    ...Object.fromEntries(sourcesUnder(here, "kit")),
    [carried]: { content: carrier },
    "src/IOracle.sol": shipped["src/IOracle.sol"],
  },
  { ...settings, viaIR: false, outputSelection: { "kit/OracleKit.sol": settings.outputSelection["*"] } },
);
output["kit/OracleKit.sol"] = kit["kit/OracleKit.sol"];
targets.push({ source: "kit/OracleKit.sol", name: "OracleKit", folder: join(tests, "artifacts") });

for (const { source, name, folder } of targets) {
  const { abi, evm } = output[source][name];
  const artifact = {
    contract: name,
    compiler: `solc ${solc.version().replace(/\.Emscripten.*$/, "")}, ${settings.evmVersion}`,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
  };
  const text = `${JSON.stringify(artifact, null, 1)}\n`;
  const bytes = (evm.bytecode.object.length / 2) | 0;
  put(join(folder, `${name}.json`), text, `${bytes} bytes of creation code`);
}
if (differ) {
  console.error("run `npm run build` in contracts/ and commit the artifacts");
  process.exit(1);
}
