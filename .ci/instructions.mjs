#!/usr/bin/env node
// Counts the instructions of a call of a plugin and of the frame codec, and
// fails when they are not within 5 % of tests/bench/instructions.json. With
// --update, writes that file.
//
// Each is run N and 2 N times under callgrind; the difference over N is what one
// takes, whatever the start takes. Counts do not depend on how busy the machine
// is: two runs differ by less than 0.1 %. They do depend on the compiler, the
// dependencies and a little on the processor, hence the 5 %. The build is that of
// the tests, so that nothing is compiled for this alone; what is measured with it
// is change, not speed.
//
// Needs valgrind. The engine runs under it as it is, instance pool included.

import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ALLOWED = 0.05;
const COUNTS = { call: 500, together: 200, text: 1000, binary: 1000 };
const NAMES = {
  call: "call of the probe's `ping` with 100 bytes",
  together: "16 of them handled together, in all",
  text: "decode, reply and broadcast of a text frame",
  binary: "decode, reply and broadcast of a binary frame",
};

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const baselineFile = join(root, "tests/bench/instructions.json");
// A compiled plugin is taken from here, so that no compiler runs under valgrind.
const env = { ...process.env, XDG_CACHE_HOME: join(target, "instructions-cache") };

// An incremental build inlines nothing across crates, which a release does.
env.CARGO_INCREMENTAL = "0";

// As a plugin is built whose author has no profile; that of this workspace is the server's.
env.CARGO_PROFILE_RELEASE_LTO = "true";

function run(program, ...args) {
  execFileSync(program, args, { cwd: root, env, stdio: "inherit" });
}

function instructions(what, times) {
  const program = join(target, "debug/examples/instructions");
  const valgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null", program, what, `${times}`];
  const { error, status, stderr } = spawnSync("valgrind", valgrind, { cwd: root, env });
  if (error) throw new Error(`failed to start valgrind (apt-get install valgrind): ${error.message}`);
  const collected = /Collected : (\d+)/.exec(stderr);
  if (status !== 0 || !collected) throw new Error(`callgrind failed:\n${stderr}`);
  return Number(collected[1]);
}

run("cargo", "build", "--workspace", "--tests", "--bin", "millrace", "--example", "instructions", "--locked");
run(join(target, "debug/millrace"), "build", "tests/apps/probe");
// Under valgrind the processor has fewer features, and so code of its own.
instructions("call", 1);

const found = {};
for (const [what, times] of Object.entries(COUNTS)) {
  found[what] = Math.round((instructions(what, 2 * times) - instructions(what, times)) / times);
}
if (process.argv.includes("--update")) {
  writeFileSync(baselineFile, `${JSON.stringify(found, null, 2)}\n`);
  console.log("written:", found);
  process.exit(0);
}

const baseline = JSON.parse(readFileSync(baselineFile, "utf8"));
let failed = false;
for (const what of Object.keys(COUNTS)) {
  const [low, high] = [baseline[what] * (1 - ALLOWED), baseline[what] * (1 + ALLOWED)].map(Math.round);
  const within = found[what] >= low && found[what] <= high;
  failed ||= !within;
  const verdict = within ? "ok" : "FAILED";
  console.log(`${verdict}: ${NAMES[what]}: ${found[what]} instructions, allowed are ${low} to ${high}`);
}
if (failed) {
  console.log(
    "Find out what has changed (callgrind_annotate). If it is meant, or the compiler or a\n" +
      "dependency is another: .ci/instructions.mjs --update, and say why in the commit.",
  );
  process.exit(1);
}
