// The page of operators in Chromium, in both colour schemes:
// `node dashboard.mjs URL CHROMIUM SCREENSHOT_DIR` tells what it shows, one JSON term on each line.

import { join } from "node:path";
import { launch, tell } from "./chromium.mjs";

const [url, executablePath, screenshots] = process.argv.slice(2);
const PATIENCE_MS = 20_000;

const UNUSUAL = [
  { figure: "delivered_ms.p99", brief: "6 times its usual", now: 61, usual: 10, since: 0,
    text: "delivery p99 is 6 times its usual: 61 ms, usually 10 ms" },
  { figure: "connections", brief: "a third of their usual", now: 400, usual: 1200, since: 0,
    text: "connections are a third of their usual: 400, usually 1200" },
];
let marked = false;

/** Remembers where each canvas has which text, since it was drawn last. */
function rememberTexts() {
  const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.clearRect = function (...args) {
    this.canvas.texts = [];
    clearRect.apply(this, args);
  };
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    const size = this.measureText(text);
    const { a, b, c, d, e, f } = this.getTransform();
    const [left, top] = [x - size.actualBoundingBoxLeft, y - size.actualBoundingBoxAscent];
    const [right, bottom] = [x + size.actualBoundingBoxRight, y + size.actualBoundingBoxDescent];
    const corners = [[left, top], [right, bottom]].map(([x, y]) => [a * x + c * y + e, b * x + d * y + f]);
    const [xs, ys] = [0, 1].map((axis) => corners.map((corner) => corner[axis]).sort((m, n) => m - n));
    (this.canvas.texts ??= []).push({ text, xs, ys });
    fillText.call(this, text, x, y);
  };
}

/** Pairs of texts of one chart that lie on each other, or are cut off. */
function overlaps() {
  return [...document.querySelectorAll("#charts canvas")].flatMap(({ texts, width, height }) => {
    const cut = texts.filter(({ xs, ys }) => xs[0] < 0 || ys[0] < 0 || xs[1] > width || ys[1] > height);
    const pairs = texts.flatMap((one, at) => texts.slice(at + 1).map((other) => [one, other]));
    const meet = ([m, n]) => ["xs", "ys"].every((axis) => m[axis][0] < n[axis][1] && n[axis][0] < m[axis][1]);
    return [...pairs.filter(meet), ...cut.map((one) => [one])].map((all) => all.map(({ text }) => text));
  });
}

/** How much of the first chart has the colour of each of its two lines, which have the same values. */
function linesSeen() {
  const canvas = document.querySelector("#charts canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return ["--series-1", "--series-2"].map((name) => {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const color = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    let pixels = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] > 200 && color.every((part, n) => Math.abs(part - data[at + n]) < 24)) pixels += 1;
    }
    return pixels >= 10;
  });
}

/** Waits until all charts have been drawn once more. */
async function drawnAnew(page) {
  await page.evaluate(() => {
    for (const chart of document.querySelectorAll("#charts canvas")) chart.texts = null;
  });
  await page.waitForFunction(() => [...document.querySelectorAll("#charts canvas")].every(({ texts }) => texts));
}

const browser = await launch(executablePath);

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1100 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => tell({ pageError: error.message }));
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host) tell({ elsewhere: request.url() });
  });
  // What a quarter of an hour would bring is put into what the server sends.
  await page.routeWebSocket(/dashboard/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => server.send(message));
    server.onMessage((message) => {
      const terms = JSON.parse(message);
      if (terms[3] === "snapshot" && marked) terms[4].unusual = UNUSUAL;
      socket.send(JSON.stringify(terms));
    });
  });
  await page.addInitScript(rememberTexts);
  await page.addInitScript(`window.linesSeen = ${linesSeen}`);
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(url);
  await page.waitForSelector('#status[data-state="live"]');

  // Until there is something to see: charts of one point show nothing.
  const tile = (name) => page.locator("#tiles > div", { hasText: name }).locator("dd");
  await page.waitForFunction(() => {
    const tile = [...document.querySelectorAll("#tiles > div")].find((t) => t.textContent.startsWith("Messages in"));
    return tile && parseFloat(tile.querySelector("dd").textContent) > 0;
  });
  await page.waitForFunction(() => document.querySelector("#faults td.cause")?.textContent === "trap");
  await page.waitForFunction(() => window.linesSeen().every(Boolean));

  const column = (table, nth) => page.locator(`#${table} tbody tr td:nth-child(${nth})`).allTextContents();
  tell({
    connections: await tile("Connections").textContent(),
    charts: await page.locator("#charts canvas").count(),
    plugins: await column("plugins", 1),
    topics: (await column("topics", 1)).length,
    causes: await column("faults", 4),
    unusual: await page.locator("#unusual").isVisible(),
    overlaps: await page.evaluate(overlaps),
    linesSeen: await page.evaluate(linesSeen),
  });
  marked = true;
  await page.waitForSelector("#unusual:not([hidden])");
  tell({
    unusual: await page.locator("#unusual").textContent(),
    marks: await page.locator("#tiles .unusual").evaluateAll((tiles) =>
      tiles.map((tile) => [tile.querySelector("dt"), tile.querySelector("em")].map((part) => part.textContent))),
  });
  await page.screenshot({ path: join(screenshots, "dashboard-light.png"), fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  await drawnAnew(page);
  await page.screenshot({ path: join(screenshots, "dashboard-dark.png"), fullPage: true });
  await page.setViewportSize({ width: 400, height: 800 });
  await drawnAnew(page);
  const scrolls = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await page.screenshot({ path: join(screenshots, "dashboard-narrow.png"), fullPage: true });
  tell({ scrollsSideways: scrolls, overlaps: await page.evaluate(overlaps) });
} finally {
  await browser.close();
}
