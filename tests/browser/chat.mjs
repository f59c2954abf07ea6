// Two people in a chat room, each in a Chromium page of their own:
// `node chat.mjs URL CHROMIUM SCREENSHOT_DIR` tells what they see, one JSON term on each line.

import { join } from "node:path";
import { launch, tell } from "./chromium.mjs";

const [url, executablePath, screenshots] = process.argv.slice(2);
const PATIENCE_MS = 10_000;
const ROOM = "mill";

const browser = await launch(executablePath);

/** Opens the page, fills in the form and waits for the chat. */
async function enter(name) {
  const context = await browser.newContext({ viewport: { width: 480, height: 640 } });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => tell({ name, pageError: error.message }));
  await page.goto(url);
  await page.fill("#name", name);
  await page.fill("#room", ROOM);
  await page.click("#join");
  await status(page, "connected");
  await page.waitForSelector("#body");
  return page;
}

async function status(page, state) {
  await page.waitForSelector(`#status[data-state="${state}"]`, { state: "attached" });
}

/** Waits for the `nth` message and reads it. */
async function message(page, nth) {
  const found = page.locator("#messages .message").nth(nth);
  await found.waitFor();
  const [author, body] = [found.locator(".author"), found.locator(".body")];
  return { author: await author.textContent(), body: await body.textContent() };
}

/** Waits until so many people are listed, and reads their names. */
async function people(page, count) {
  const listed = (count) => document.querySelectorAll("#people li").length === count;
  await page.waitForFunction(listed, count);
  return page.locator("#people li").allTextContents();
}

async function say(page, body) {
  await page.fill("#body", body);
  await page.press("#body", "Enter");
}

try {
  const ada = await enter("Ada");
  const bob = await enter("Bob");
  tell({ connected: true });
  tell({ ada: await people(ada, 2), bob: await people(bob, 2) });

  await ada.locator("#body").pressSequentially("Is the wheel");
  await bob.waitForFunction(() => document.querySelector("#typing").textContent.includes("Ada"));
  tell({ typing: "Ada" });

  await say(ada, "Is the wheel turning?");
  tell({ bob: await message(bob, 0), ada: await message(ada, 0) });

  await say(bob, "<b>It is</b> & it grinds 🌾");
  tell({ bob: await message(bob, 1), ada: await message(ada, 1) });

  await ada.screenshot({ path: join(screenshots, "chat-ada.png") });
  await bob.screenshot({ path: join(screenshots, "chat-bob.png") });
  tell({ screenshots: 2 });

  // The test stops the server here, and starts another.
  await Promise.all([status(ada, "disconnected"), status(bob, "disconnected")]);
  tell({ disconnected: true });
  await Promise.all([status(ada, "connected"), status(bob, "connected")]);
  await say(ada, "Still there?");
  tell({ bob: await message(bob, 2), ada: await message(ada, 2) });
  tell({ ada: await people(ada, 2), bob: await people(bob, 2) });
  // A page that polls and is closed is there until its session ends; who leaves is gone at once.
  await ada.click("#leave");
  tell({ bob: await people(bob, 1) });
} finally {
  await browser.close();
}
