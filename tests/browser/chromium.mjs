// Chromium as the tests start it: quiet, and without a sandbox of its own.

import { chromium } from "playwright-core";

export const launch = (executablePath) => chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** One thing that was seen, for the test. */
export const tell = (seen) => console.log(JSON.stringify(seen));
