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
  { source: "src/Oracle.sol", name: "Oracle", folder: join(here, "artifacts") },
  ...["ChainlinkAdapter", "ChronicleAdapter", "PythAdapter", "QuoteAdapter"].map((name) => (
    { source: `src/adapters/${name}.sol`, name, folder: join(here, "artifacts") })),
  ...["CrossRate", "InverseFeed", "SequencerGate"].map((name) => (
    { source: `src/derived/${name}.sol`, name, folder: join(here, "artifacts") })),
  { source: "solidity/Harness.sol", name: "Harness", folder: join(tests, "artifacts") },
  ...["Batch", "SettableReader", "SettableUptime"].map((name) => (
    { source: `solidity/${name}.sol`, name, folder: join(tests, "artifacts") })),
  { source: "src/examples/Consumer.sol", name: "Consumer", folder: join(tests, "artifacts") },
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

const sources = Object.fromEntries([
  ...sourcesUnder(here, "src"),
  ...sourcesUnder(tests, "solidity"),
]);
const output = JSON.parse(
  solc.compile(JSON.stringify({ language: "Solidity", sources, settings })),
);

// 2394 warns of transient storage that outlives the call: that is what `use` has it for (O13).
const findings = (output.errors ?? []).filter(({ errorCode }) => errorCode !== "2394");
for (const finding of findings) console.error(finding.formattedMessage);
if (findings.length > 0) process.exit(1);

let differ = false;
for (const { source, name, folder } of targets) {
  const { abi, evm } = output.contracts[source][name];
  const artifact = {
    contract: name,
    compiler: `solc ${solc.version().replace(/\.Emscripten.*$/, "")}, ${settings.evmVersion}`,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
  };
  const text = `${JSON.stringify(artifact, null, 1)}\n`;
  const path = join(folder, `${name}.json`);
  const shown = relative(process.cwd(), path);
  const bytes = (evm.bytecode.object.length / 2) | 0;
  if (process.argv.includes("--check")) {
    let committed = "";
    try {
      committed = readFileSync(path, "utf8");
    } catch {
      // A missing artifact differs.
    }
    const same = committed === text;
    console.log(`${shown}: ${same ? "as built from the sources" : "differs from the sources"}`);
    differ ||= !same;
  } else {
    mkdirSync(folder, { recursive: true });
    writeFileSync(path, text);
    console.log(`${shown}: ${bytes} bytes of creation code`);
  }
}
if (differ) {
  console.error("run `npm run build` in contracts/ and commit the artifacts");
  process.exit(1);
}
