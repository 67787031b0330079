// Journeys of a person in Firefox, over WebDriver BiDi: node journey.mjs JOURNEY SITE FIREFOX GLACIER.
// A request to GLACIER ends all retrievals, so that a journey sees what a page shows meanwhile.
import http from "node:http";
import { launch } from "puppeteer-core";

const [journey, site, executablePath, glacier] = process.argv.slice(2);
const browser = await launch({ browser: "firefox", executablePath, headless: true, args: ["-width=1200", "-height=900"] });
const patience = { timeout: 60000 };
const faults = [];
const page = await browser.newPage();
// The page of the local sign-in provider has no icon, and its policy refuses one.
page.on("pageerror", (e) => { if (page.url().startsWith(site)) faults.push(`error on ${page.url()}: ${e.message}`); });
const says = (tab, text) => tab.waitForFunction((t) => document.body?.innerText.includes(t), patience, text);
const press = async (tab, selector) => (await tab.waitForSelector(selector, patience)).click();
const click = (tab, text) => press(tab, `::-p-xpath(//*[self::a or self::button or self::summary][contains(normalize-space(.), "${text}")])`);
const text = (tab) => tab.evaluate(() => document.querySelector("main").innerText);
const step = (what) => console.log(what);
// until loads the page anew until it has the text.
const until = async (tab, path, want) => {
  for (const end = Date.now() + patience.timeout; ; ) {
    await tab.goto(site + path);
    if ((await tab.evaluate(() => document.body.innerText)).includes(want)) return;
    if (Date.now() > end) throw new Error(`${path} never says ${want}`);
    await new Promise((done) => setTimeout(done, 300));
  }
};
const open = async (path) => {
  const tab = await browser.newPage();
  await tab.goto(site + path);
  return tab;
};
const signIn = async () => {
  await page.goto(site);
  await click(page, "Sign in");
  await click(page, "Fern Fictive");
  await says(page, "in the archive");
};
const upgrade = async () => {
  await page.goto(`${site}/subscribe`);
  await press(page, 'form[action="/subscribe"] button');
  await page.waitForFunction(() => location.pathname === "/annotations", patience);
};

// proxy is in front of the site. It answers the next requests for the live stream itself.
const proxy = async (answers) => {
  const asked = [];
  const server = http.createServer((req, res) => {
    if (req.url.startsWith("/events")) {
      asked.push(Date.now());
      const answer = answers.shift();
      if (answer) { res.writeHead(answer).end(); return; }
    }
    const to = http.request(site + req.url, { method: req.method, headers: { ...req.headers, host: new URL(site).host } }, (from) => {
      res.writeHead(from.statusCode, from.headers);
      from.pipe(res);
    });
    to.on("error", () => res.destroy());
    res.on("close", () => to.destroy());
    req.pipe(to);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, asked, close: () => { server.closeAllConnections(); server.close(); } };
};

const journeys = {
  async restored() {
    await signIn();
    // HTTP/1.1 has six connections to a host.
    const tabs = [];
    for (let i = 0; i < 7; i++) {
      const tab = await open("/annotations");
      await says(tab, "Your annotations");
      tabs.push(tab);
    }
    for (const tab of tabs) await tab.close();
    step("seven tabs are open at once");

    await page.bringToFront();
    await upgrade();
    await says(page, "You are Premium now.");
    await page.evaluate(() => { window.sameDocument = true; });
    await page.waitForFunction(() => document.title.startsWith("0 of 2 back"), patience);
    await fetch(glacier, { method: "POST" });
    await says(page, "All 2 of your files are back.");
    if (!(await page.evaluate(() => window.sameDocument))) faults.push("the page was loaded anew");
    step("both files came back while the page was open");

    await press(page, "[data-back] button");
    await page.waitForFunction(() => document.readyState === "complete" && !document.querySelector("[data-back]"), patience);
    const got = await page.evaluate(async () => {
      const zip = await fetch("/annotations/results.zip"), bytes = new Uint8Array(await zip.arrayBuffer());
      const list = await (await fetch("/api/v1/manifest")).json();
      return { status: zip.status, head: String.fromCharCode(...bytes.slice(0, 2)), end: bytes.length, files: list.files.length, complete: list.complete };
    });
    if (got.status !== 200 || got.head !== "PK" || got.files !== 2 || got.complete !== true) faults.push(`the zip and the manifest are ${JSON.stringify(got)}`);
    step("the zip and the manifest have both files");

    // A form of a tab from before sign-out leads to its page, and not to an error.
    const stale = await open("/account");
    await page.bringToFront();
    await page.goto(`${site}/account`);
    await says(page, "Firefox on Linux");
    await click(page, "Sign out");
    await says(page, "Sign in");
    await stale.bringToFront();
    await click(stale, "End Premium");
    await click(stale, "Yes, go back to Free");
    await says(stale, "You are signed out");
    await stale.goto(`${site}/account/free`); // somebody reloads the answer
    if ((await stale.evaluate(() => document.body.innerText)).includes("405")) faults.push("a form that was reloaded leads to 405");
    step("signed out");
  },

  async held() {
    await signIn();
    await upgrade();
    await until(page, "/annotations", "12 files wait for approval");
    const first = await text(page);
    if (/[Uu]sually|We request|coming back/.test(first)) faults.push(`a held plan promises something: ${first}`);
    const status = await page.evaluate(async () => (await fetch("/api/v1/subscription", { method: "POST", headers: { "X-CSRF-Token": document.querySelector("[name=csrf]").value } })).status);
    if (status !== 200) faults.push(`to ask again is answered with ${status}`);
    await page.goto(`${site}/annotations`);
    if ((await text(page)) !== first) faults.push("to ask again changed the list");
    await click(page, "panel_000.vcf");
    await says(page, "Waiting for approval");
    step("a held plan waits, and promises nothing");
  },

  async attention() {
    await signIn();
    await upgrade();
    await until(page, "/annotations", "1 file needs the attention");
    await click(page, "panel_000.vcf");
    await says(page, "Needs attention");
    await says(page, "Nothing is lost");
    step("a file that was given up needs attention");
  },

  async live() {
    await signIn();
    const old = await open("/annotations");
    await says(old, "1 result is in the archive");
    await page.bringToFront();
    await upgrade();
    await old.bringToFront(); // a tab from before the upgrade
    await says(old, "(Premium)");
    if ((await text(old)).includes("See Premium")) faults.push("a tab from before the upgrade still offers it");
    step("a tab from before the upgrade follows it");

    const front = await proxy([502, 429, 503]);
    const tab = await browser.newPage();
    await tab.goto(`${front.url}/annotations`);
    await says(tab, "This page is not live.");
    await tab.waitForFunction(() => document.querySelector("[data-offline]").childElementCount === 0, patience);
    const waits = front.asked.slice(1).map((at, i) => at - front.asked[i]);
    if (front.asked.length !== 4 || waits.some((w, i) => w < 1000 * 2 ** i - 20)) faults.push(`the page asked ${front.asked.length} times, after ${waits} ms`);
    step("a page is live again after 502, 429 and 503");

    await page.goto(`${site}/account`);
    await page.bringToFront();
    await click(page, "Sign out");
    await page.waitForFunction(() => location.pathname === "/", patience);
    await tab.bringToFront();
    await says(tab, "You are signed out.");
    step("a page says that its person signed out elsewhere");
    front.close();
  },

  async first() {
    await signIn();
    await upgrade();
    await until(page, "/annotation/fern-0119", "Bring this one first");
    await press(page, 'form[action$="/first"] button');
    await says(page, "You chose this file to come first");
    await says(page, "ready to download");
    const coming = await page.evaluate(async () => (await (await fetch("/api/v1/archive")).json()).coming);
    if (coming < 60) faults.push(`${coming} files are still to come: the chosen one did not come first`);
    step("a chosen file came before the others");
  },
};

try {
  await journeys[journey]();
} catch (e) {
  faults.push(`${e.message} at ${page.url()}: ${await page.evaluate(() => document.body?.innerText.slice(0, 1000)).catch(() => "")}`);
}
await browser.close();
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
