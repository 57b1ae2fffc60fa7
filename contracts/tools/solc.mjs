#!/usr/bin/env node
// The compiler's command line, as far as forge, slither and halmos use it, on top of npm's solc, which
// is the same compiler in WebAssembly. Nothing has to be downloaded besides npm's packages.
//
//   solc.mjs --version
//   solc.mjs --standard-json [--base-path DIR] [--include-path DIR] [--allow-paths …] [INPUT]

import { readFileSync, existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { isAbsolute, relative, resolve, sep } from "node:path";

const solc = createRequire(import.meta.url)("solc");

function fail(message) {
  console.error(`solc.mjs: ${message}`);
  process.exit(2);
}

/// Reads an import from one of the folders that were named, never from outside all of them.
function reader(folders) {
  return (path) => {
    for (const folder of folders) {
      const file = isAbsolute(path) ? path : resolve(folder, path);
      if (!existsSync(file)) continue;
      const real = realpathSync(file);
      const inside = folders.some((one) => {
        const way = relative(realpathSync(one), real);
        return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
      });
      if (inside) return { contents: readFileSync(real, "utf8") };
    }
    return { error: `not found below ${folders.join(", ")}: ${path}` };
  };
}

const folders = [];
const inputs = [];
let standardJson = false;
const words = process.argv.slice(2);
while (words.length > 0) {
  const word = words.shift();
  if (word === "--version") {
    console.log("solc, the solidity compiler commandline interface");
    console.log(`Version: ${solc.version().replace(/\.Emscripten.*$/, ".Linux.g++")}`);
    process.exit(0);
  } else if (word === "--standard-json") {
    standardJson = true;
  } else if (word === "--base-path" || word === "--include-path") {
    folders.push(words.shift() ?? fail(`${word} needs a folder`));
  } else if (word === "--allow-paths") {
    folders.push(...(words.shift() ?? "").split(",").filter((path) => path !== ""));
  } else if (word.startsWith("-")) {
    fail(`unknown option ${word}`);
  } else {
    inputs.push(word);
  }
}
if (!standardJson || inputs.length > 1) fail("only --version and --standard-json are known");
if (folders.length === 0) folders.push(process.cwd());

const input = JSON.parse(readFileSync(inputs[0] ?? 0, "utf8"));
const read = reader(folders);
for (const [name, source] of Object.entries(input.sources ?? {})) {
  if (source.content !== undefined) continue;
  const found = (source.urls ?? [name]).map(read).find(({ contents }) => contents !== undefined);
  if (found === undefined) fail(`cannot read ${name}`);
  input.sources[name] = { ...source, urls: undefined, content: found.contents };
}
process.stdout.write(solc.compile(JSON.stringify(input), { import: read }));
