// The description of the admin interface at a URL: whether it is valid OpenAPI, and whether what is
// answered is what it says: `node check.mjs URL COMPONENT` tells both, one JSON term on each line.
// COMPONENT is one that may take the place of the plugin `fair`.

import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv2020 from "ajv/dist/2020.js";
import { readFile } from "node:fs/promises";

const [url, component] = process.argv.slice(2);
const PATIENCE_MS = 10_000;
const tell = (term) => console.log(JSON.stringify(term));

const description = await (await fetch(`${url}/openapi.json`)).json();
const validator = new Validator();
const { valid, errors } = await validator.validate(structuredClone(description));
tell(valid ? { valid, version: validator.version } : { valid, errors });

const ajv = new Ajv2020({ strict: false });

/** The same schema, but nothing that it does not name may be there. */
function strict(schema) {
  if (Array.isArray(schema)) return schema.map(strict);
  if (schema === null || typeof schema !== "object") return schema;
  const all = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, strict(value)]));
  if (schema.type === "object" && schema.properties) all.additionalProperties ??= false;
  return all;
}

function check(what, schema, value) {
  const fits = ajv.compile(strict(schema));
  if (!fits(value)) throw new Error(`${what}: ${ajv.errorsText(fits.errors)} in ${JSON.stringify(value)}`);
}

/** Asks until the server has something to say: nothing is measured in its first second. */
async function ask(path, request) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const response = await fetch(url + path, request);
    if (response.status !== 503 || Date.now() > until) return response;
    await response.text();
  }
}

const bodies = {
  switch_dispatcher: { dispatcher: "demand", stage: 0 },
  replay_dead_letters: {},
  purge_dead_letters: { numbers: [1] },
  disconnect: { user: "nobody" },
};
const { sockets } = await (await fetch(`${url}/sockets`)).json();
const problem = description.components.schemas.Problem;
let answers = 0;
// An exchange first: others roll it back and list it.
const paths = Object.entries(description.paths);
paths.sort(([a], [b]) => b.endsWith("/swap") - a.endsWith("/swap"));
for (const [pattern, operations] of paths) {
  // What takes something away goes last.
  const entries = Object.entries(operations).sort(([a], [b]) => (a === "delete") - (b === "delete"));
  for (const [method, operation] of entries) {
    if (operation.operationId === "openapi") continue;
    const name = pattern.startsWith("/plugins") ? "fair" : "jobs";
    const path = pattern.replace("{name}", name).replace("{id}", sockets[0].id);
    const request = { method: method.toUpperCase() };
    const content = operation.requestBody?.content ?? {};
    if (content["application/wasm"]) {
      request.headers = { "content-type": "application/wasm" };
      request.body = await readFile(component);
    } else if (operation.requestBody) {
      const body = bodies[operation.operationId];
      check(`the request of ${operation.operationId}`, operation.requestBody.content["application/json"].schema, body);
      request.headers = { "content-type": "application/json" };
      request.body = JSON.stringify(body);
    }
    const response = await ask(path, request);
    // Of several lines, the last one is the answer.
    const lines = (await response.text()).trim().split("\n");
    const answer = JSON.parse(lines.at(-1));
    if (operation.operationId === "promote_plugin") {
      check("there is no canary", problem, answer);
      continue;
    }
    if (response.status !== 200) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    const mediaType = response.headers.get("content-type");
    const { schema } = operation.responses[200].content[mediaType] ?? {};
    if (!schema) throw new Error(`${method} ${path} answered with ${mediaType}, which is not described`);
    for (const line of lines) check(operation.operationId, schema, JSON.parse(line));
    const refused = await fetch(`${url}${path}?unknown=1`, request);
    check(`the refusal of ${operation.operationId}`, problem, await refused.json());
    answers += 1;
  }
}
tell({ answers });
