// Events of the official SDK in each mode of the HTTP binding, and what a worker was handed of them:
// `node send.mjs URL DEAD_LETTERS`. Its worker can read none of them, so that they are among the dead
// letters, which the SDK reads as structured events. Tells one JSON term on each line.

import { isDeepStrictEqual } from "node:util";
import { CloudEvent, emitterFor, HTTP, httpTransport, Mode } from "cloudevents";

const [url, deadLetters] = process.argv.slice(2);

const tell = (seen) => console.log(JSON.stringify(seen));

let number = 0;

/** An event with what is given, and an attribute of each kind. */
function event(more) {
  number += 1;
  return new CloudEvent({
    id: `id-${number}`,
    source: "/sensors/a%20b",
    type: "com.example.measured",
    subject: "a \"quoted\" größer 50% subject",
    time: "2026-01-02T03:04:05.678Z",
    dataschema: "https://example.com/schema",
    partitionkey: `key-${number}`,
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01",
    ...more,
  });
}

/** As the binding wants it, which the SDK leaves to whoever sends: values that are no ASCII are encoded. */
function encoded(headers) {
  const encode = (value) => String(value).replace(/[^\x21\x23\x24\x26-\x7e]/gu, encodeURIComponent);
  const encodeAttribute = ([name, value]) => [name, name.startsWith("ce-") ? encode(value) : value];
  return Object.fromEntries(Object.entries(headers).map(encodeAttribute));
}

async function post({ headers, body }) {
  const response = await fetch(url, { method: "POST", headers: encoded(headers), body });
  const text = await response.text();
  return response.status === 202 ? JSON.parse(text) : { status: response.status, text };
}

/** What the worker was handed of an event. */
async function handed(id) {
  for (;;) {
    const { dead_letters: letters } = await (await fetch(deadLetters)).json();
    const letter = letters.find(({ payload }) => JSON.parse(payload).id === id);
    if (letter) return letter;
  }
}

const bytes = (data) => (ArrayBuffer.isView(data) ? [...data] : data);

/** Whether it is the same event, down to its last attribute. */
async function same(sent) {
  const { payload, key } = await handed(sent.id);
  const headers = { "content-type": "application/cloudevents+json" };
  const found = HTTP.toEvent({ headers, body: payload });
  const names = [...new Set([...Object.keys(sent.toJSON()), ...Object.keys(found.toJSON())])];
  // The SDK makes both of bytes, and numbers of 32 bits of those it reads.
  const compared = names.filter((name) => name !== "data_base64");
  const differ = compared.filter((name) => !isDeepStrictEqual(bytes(found[name]), bytes(sent[name])));
  return { key: key === sent.partitionkey, differ };
}

const json = { temperature: 21.5, unit: "°C", deep: [{ a: null }] };
const sent = {
  json: event({ datacontenttype: "application/json", data: json }),
  text: event({ datacontenttype: "text/plain", data: "größer" }),
  bytes: event({ datacontenttype: "image/png", data: Uint8Array.from([0, 1, 127, 128, 255]) }),
};

for (const [name, event] of Object.entries(sent)) {
  tell({ binary: name, ...(await post(HTTP.binary(event))), ...(await same(event)) });
  const again = event.cloneWith({ id: `${event.id}-structured` });
  tell({ structured: name, ...(await post(HTTP.structured(again))), ...(await same(again)) });
}

// The SDK reads batches and writes none.
const batch = [event({ data: json }), event({ data: json })];
const headers = { "content-type": "application/cloudevents-batch+json; charset=utf-8" };
const told = await post({ headers, body: JSON.stringify(batch) });
tell({ batch: told, same: [await same(batch[0]), await same(batch[1])] });

// As its own transport sends it.
const emit = emitterFor(httpTransport(url), { mode: Mode.BINARY });
const emitted = event({ source: "/plain", datacontenttype: "application/json", data: json });
const answer = await emit(emitted);
tell({ emitted: JSON.parse(answer.body), ...(await same(emitted)) });
