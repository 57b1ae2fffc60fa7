// Compiles other projects' contracts, as they are in their npm packages, into artifacts for tests.
//
//   node build.mjs            writes tests/contracts/artifacts/consumers
//   node build.mjs --check    compiles and compares byte for byte
//
// Packages are fetched by `npm pack` (not all of them install), unpacked beside this file, and never
// committed. The wrapper around the compiler is that of contracts/node_modules.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const unpacked = join(here, "node_modules");
const artifacts = join(here, "..", "artifacts", "consumers");
const { compiler, packages, contracts } = JSON.parse(
  readFileSync(join(here, "packages.json"), "utf8"),
);

function fetch(specifier) {
  const name = specifier.slice(0, specifier.lastIndexOf("@"));
  const version = specifier.slice(name.length + 1);
  const folder = join(unpacked, name);
  const manifest = join(folder, "package.json");
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const [tarball] = execFileSync("npm", ["pack", "--silent", specifier], {
    cwd: unpacked,
    encoding: "utf8",
  }).trim().split("\n").slice(-1);
  execFileSync("tar", ["-xzf", join(unpacked, tarball), "-C", folder, "--strip-components=1"]);
  rmSync(join(unpacked, tarball));
}

for (const specifier of [compiler, ...packages]) fetch(specifier);

const require = createRequire(import.meta.url);
const wrap = createRequire(join(here, "..", "..", "..", "contracts", "build.mjs"))("solc/wrapper");
const solc = wrap(require(join(unpacked, "solc", "soljson.js")));

const settings = {
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
};
const sources = Object.fromEntries(
  contracts.map(({ source }) => [source, { content: readFileSync(join(unpacked, source), "utf8") }]),
);
const output = JSON.parse(
  solc.compile(JSON.stringify({ language: "Solidity", sources, settings }), {
    import: (path) => ({ contents: readFileSync(join(unpacked, path), "utf8") }),
  }),
);
const errors = (output.errors ?? []).filter(({ severity }) => severity === "error");
for (const error of errors) console.error(error.formattedMessage);
if (errors.length > 0) process.exit(1);

let differ = false;
mkdirSync(artifacts, { recursive: true });
for (const { name, source, licence } of contracts) {
  const { abi, evm } = output.contracts[source][name];
  const from = packages.find((specifier) => source.startsWith(specifier.replace(/@[^@]*$/, "/")));
  const artifact = {
    contract: name,
    package: from,
    source,
    licence,
    compiler,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
  };
  const text = `${JSON.stringify(artifact, null, 1)}\n`;
  const path = join(artifacts, `${name}.json`);
  if (process.argv.includes("--check")) {
    const same = existsSync(path) && readFileSync(path, "utf8") === text;
    console.log(`${name}: ${same ? "as compiled from" : "differs from"} ${from}`);
    differ ||= !same;
  } else {
    writeFileSync(path, text);
    console.log(`${name}: ${evm.bytecode.object.length / 2} bytes from ${from}`);
  }
}
if (differ) process.exit(1);
