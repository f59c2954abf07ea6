// The notifications page in Chromium, with a noisy user and a quiet one:
// `node notifications.mjs URL CHROMIUM SCREENSHOT_DIR` tells how long the quiet one waits under
// each dispatcher, one JSON term on each line.

import { join } from "node:path";
import { launch, tell } from "./chromium.mjs";

const [url, executablePath, screenshots] = process.argv.slice(2);
const PATIENCE_MS = 30_000;
// Far from each other: the quiet user waits 20 to 40 ms, or for some seconds of others' events.
const SOON_MS = 500;
const LATE_MS = 1500;

const browser = await launch(executablePath);

try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 640 } });
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => tell({ pageError: error.message }));
  await page.goto(url);

  /** Waits until the median wait of a user is as it should be, for two bars in a row. */
  async function wait(user, is, limit) {
    const section = `section[data-user="${user}"]`;
    await page.waitForFunction(
      ([section, is, limit]) => {
        const waited = document.querySelector(section).dataset.waited;
        const holds = waited !== "" && (is === "soon" ? waited < limit : waited > limit);
        window.held = holds ? (window.held ?? 0) + 1 : waited === "" ? window.held : 0;
        return window.held >= 2;
      },
      [section, is, limit],
      { polling: 500 },
    );
    await page.evaluate(() => (window.held = 0));
  }

  // The noisy one has filled the buffer once its own wait is long.
  await wait("ada", "late", LATE_MS);
  await wait("bob", "soon", SOON_MS);
  tell({ dispatcher: "fair", bob: "soon" });

  await page.check('input[value="demand"]');
  await page.waitForSelector('body[data-dispatcher="demand"]');
  await wait("bob", "late", LATE_MS);
  await page.screenshot({ path: join(screenshots, "notifications-demand.png"), fullPage: true });
  tell({ dispatcher: "demand", bob: "late" });

  await page.check('input[value="fair"]');
  await page.waitForSelector('body[data-dispatcher^="fair"]');
  await wait("bob", "soon", SOON_MS);
  await page.screenshot({ path: join(screenshots, "notifications-fair.png"), fullPage: true });
  tell({ dispatcher: "fair", bob: "soon" });
} finally {
  await browser.close();
}
