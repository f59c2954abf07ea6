// The table of pipelines in Chromium, under load:
// `node pipelines.mjs URL CHROMIUM SCREENSHOT_DIR` tells what it shows, one JSON term on each line.

import { join } from "node:path";
import { launch, tell } from "./chromium.mjs";

const [url, executablePath, screenshots] = process.argv.slice(2);
const PATIENCE_MS = 20_000;

const browser = await launch(executablePath);

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1100 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => tell({ pageError: error.message }));
  await page.goto(url);
  await page.waitForSelector('#status[data-state="live"]');

  // Rows by their columns' names, as soon as the busy one has all there is to see.
  const busy = () => {
    const [head, ...rows] = [...document.querySelectorAll("#pipelines tr")]
      .map((row) => [...row.children].map((cell) => cell.textContent));
    const named = rows.map((cells) => Object.fromEntries(cells.map((cell, at) => [head[at], cell])));
    const row = named.find(({ pipeline }) => pipeline === "jobs");
    const moves = (name) => parseFloat(row[name]) > 0;
    const all = ["accepted/s", "done/s", "failed/s", "rejected/s", "buffered", "wait p99", "run p99", "to client p99"];
    return row && all.every(moves) && row["top keys"].startsWith("ada ") ? named : false;
  };
  const rows = await (await page.waitForFunction(busy)).jsonValue();
  // Charts of one point show nothing.
  await page.waitForTimeout(2_000);
  await page.screenshot({ path: join(screenshots, "dashboard-pipelines.png"), fullPage: true });
  tell({
    pipelines: rows.map((row) => row.pipeline),
    dispatchers: rows.map((row) => row.dispatcher.split(" ")[0]),
    busiest: rows[1]["top keys"].split(" ")[0],
    moves: parseFloat(rows[1]["done/s"]) > 0,
    scrollsSideways: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth),
  });
} finally {
  await browser.close();
}
