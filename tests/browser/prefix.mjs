// The page of operators in Chromium, wherever it is: `node prefix.mjs URL CHROMIUM` tells where it
// ends up and whether it is live, as a JSON term.

import { launch, tell } from "./chromium.mjs";

const [url, executablePath] = process.argv.slice(2);
const browser = await launch(executablePath);

try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => tell({ pageError: error.message }));
  await page.goto(url);
  await page.waitForSelector('#status[data-state="live"]');
  tell({ status: "live", path: new URL(page.url()).pathname + new URL(page.url()).search });
} finally {
  await browser.close();
}
