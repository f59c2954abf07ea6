// The page of operators in Chromium, in both colour schemes:
// `node dashboard.mjs URL CHROMIUM SCREENSHOT_DIR` tells what it shows, one JSON term on each line.

import { join } from "node:path";
import { launch, tell } from "./chromium.mjs";

const [url, executablePath, screenshots] = process.argv.slice(2);
const PATIENCE_MS = 20_000;

const browser = await launch(executablePath);

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1100 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => tell({ pageError: error.message }));
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host) tell({ elsewhere: request.url() });
  });
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(url);
  await page.waitForSelector('#status[data-state="live"]');

  // Some seconds of load, as charts of one point show nothing.
  const tile = (name) => page.locator("#tiles > div", { hasText: name }).locator("dd");
  await page.waitForFunction(() => {
    const tile = [...document.querySelectorAll("#tiles > div")].find((t) => t.textContent.startsWith("Messages in"));
    return tile && parseFloat(tile.querySelector("dd").textContent) > 0;
  });
  await page.waitForFunction(() => document.querySelector("#faults td.cause")?.textContent === "trap");
  await page.waitForTimeout(6_000);

  const column = (table, nth) => page.locator(`#${table} tbody tr td:nth-child(${nth})`).allTextContents();
  tell({
    connections: await tile("Connections").textContent(),
    charts: await page.locator("#charts canvas").count(),
    plugins: await column("plugins", 1),
    topics: (await column("topics", 1)).length,
    causes: await column("faults", 4),
  });
  await page.screenshot({ path: join(screenshots, "dashboard-light.png"), fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForTimeout(1_500);
  await page.screenshot({ path: join(screenshots, "dashboard-dark.png"), fullPage: true });
  await page.setViewportSize({ width: 400, height: 800 });
  await page.waitForTimeout(1_500);
  const scrolls = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await page.screenshot({ path: join(screenshots, "dashboard-narrow.png"), fullPage: true });
  tell({ scrollsSideways: scrolls });
} finally {
  await browser.close();
}
