// Numbers for people, and tables of them.

const NONE = "–";

/** 1234567 is 1.23 M. */
export function short(value) {
  if (value == null) return NONE;
  for (const [size, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (Math.abs(value) >= size) return `${+(value / size).toPrecision(3)}${unit}`;
  }
  return String(+value.toPrecision(value < 1 ? 2 : 3));
}

/** Milliseconds, down to microseconds: whole ones are measured. */
export function milliseconds(value) {
  if (value == null) return NONE;
  if (value === 0) return "<1 µs";
  if (value >= 1000) return `${+(value / 1000).toPrecision(3)} s`;
  return value < 1 ? `${Math.round(value * 1000)} µs` : `${+value.toPrecision(3)} ms`;
}

/** Bytes in powers of 1024. */
export function bytes(value) {
  if (value == null) return NONE;
  for (const [power, unit] of [[3, " GiB"], [2, " MiB"], [1, " KiB"]]) {
    if (value >= 1024 ** power) return `${+(value / 1024 ** power).toPrecision(3)}${unit}`;
  }
  return `${Math.round(value)} B`;
}

const time = (at) => new Date(at * 1000).toLocaleTimeString();

const TABLES = {
  plugins: {
    none: "no plugin",
    rows: (snapshot) => snapshot.plugins,
    columns: [
      ["plugin", (row) => row.plugin],
      ["version", (row) => row.version],
      ["calls/s", (row) => short(row.calls), "number"],
      ["p50", (row) => milliseconds(row.time_ms.p50), "number"],
      ["p99", (row) => milliseconds(row.time_ms.p99), "number"],
      ["fuel a call", (row) => short(row.fuel.p50), "number"],
      ["memory", (row) => bytes(row.memory_bytes.p99), "number"],
      ["instances", (row) => short(row.instances), "number"],
      ["faults/s", (row) => short(row.faults), "number"],
    ],
  },
  pipelines: {
    none: "no pipeline",
    rows: (snapshot) => snapshot.pipelines,
    columns: [
      ["pipeline", (row) => row.pipeline],
      ["dispatcher", (row) => row.dispatcher],
      ["accepted/s", (row) => short(row.accepted), "number"],
      ["done/s", (row) => short(row.done), "number"],
      ["failed/s", (row) => short(row.failed), "number"],
      ["rejected/s", (row) => short(row.rejected), "number"],
      ["dropped/s", (row) => short(row.dropped), "number"],
      ["buffered", (row) => short(row.buffered), "number"],
      ["in flight", (row) => short(row.in_flight), "number"],
      ["demand", (row) => short(row.demand), "number"],
      ["wait p50", (row) => milliseconds(row.wait_ms.p50), "number"],
      ["wait p99", (row) => milliseconds(row.wait_ms.p99), "number"],
      ["run p99", (row) => milliseconds(row.run_ms.p99), "number"],
      ["to client p99", (row) => milliseconds(row.delivery_ms.p99), "number"],
      ["dead letters", (row) => short(row.dead_letters), "number"],
      ["top keys", (row) => row.top_keys.map(([key, share]) => `${key} ${Math.round(share * 100)} %`).join(", ") || NONE, "text"],
    ],
  },
  topics: {
    none: "no messages",
    rows: (snapshot) => snapshot.topics,
    columns: [
      ["topic", (row) => row.topic, "text"],
      ["received/s", (row) => short(row.received), "number"],
      ["delivered/s", (row) => short(row.delivered), "number"],
    ],
  },
  presences: {
    none: "nobody is tracked",
    rows: (snapshot) => snapshot.presences,
    columns: [
      ["topic", (row) => row.topic, "text"],
      ["members", (row) => short(row.members), "number"],
    ],
  },
  "slow-clients": {
    none: "nothing waits for any client",
    rows: (snapshot) => snapshot.slow_clients,
    columns: [
      ["connection", (row) => row.connection],
      ["user", (row) => row.user ?? NONE, "text"],
      ["waiting", (row) => bytes(row.bytes), "number"],
    ],
  },
  faults: {
    none: "none since the server started",
    rows: (snapshot) => snapshot.faults,
    columns: [
      ["last", (row) => time(row.at), "time"],
      ["times", (row) => short(row.count), "number"],
      ["plugin", (row) => row.plugin],
      ["cause", (row) => row.cause, "cause"],
      ["message", (row) => `${row.message}\non ${row.topic}`, "text"],
    ],
  },
};

function row(cells, tag) {
  const line = document.createElement("tr");
  line.append(...cells.map(([text, style]) => {
    const cell = document.createElement(tag);
    cell.textContent = text;
    if (style) cell.className = style;
    return cell;
  }));
  return line;
}

/** Fills in all tables. */
export function showTables(snapshot) {
  for (const [id, { none, rows, columns }] of Object.entries(TABLES)) {
    const table = document.getElementById(id);
    const found = rows(snapshot);
    if (found.length === 0) {
      table.replaceChildren(row([[none, "none"]], "td"));
      continue;
    }
    const head = document.createElement("thead");
    head.append(row(columns.map(([name, , style]) => [name, style === "number" ? style : ""]), "th"));
    const body = document.createElement("tbody");
    body.append(...found.map((item) => row(columns.map(([, value, style]) => [value(item), style]), "td")));
    table.replaceChildren(head, body);
  }
}
