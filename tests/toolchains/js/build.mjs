// Builds room.js by a toolchain: `node build.mjs qjs|qjs-stub|starling WIT OUTPUT`.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(dirname(fileURLToPath(import.meta.url)));
const [toolchain, wit, output] = process.argv.slice(2);
const world = "channel-plugin";
if (toolchain === "starling") {
  const { componentize } = await import("@bytecodealliance/componentize-js");
  // Every feature is on, as it is unless somebody has read of them: it imports wasi:http.
  const options = { sourcePath: "room.js", witPath: wit, worldName: world };
  const { component } = await componentize(options);
  writeFileSync(output, component);
} else {
  const more = toolchain === "qjs-stub" ? ["--stub-wasi"] : [];
  const arguments_ = ["--wit", wit, "--world", world, "--js", "room.js", "-o", output, "--sync"];
  execFileSync("node_modules/.bin/componentize-qjs", [...arguments_, "--opt-size", ...more], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}
