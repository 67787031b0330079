// The journey of a person in Firefox, over WebDriver BiDi: node journey.mjs SITE FIREFOX.
import { launch } from "puppeteer-core";

const [site, executablePath] = process.argv.slice(2);
const browser = await launch({ browser: "firefox", executablePath, headless: true, args: ["-width=1200", "-height=900"] });
const patience = { timeout: 60000 };
const faults = [];
const page = await browser.newPage();
// The page of the local sign-in provider has no icon, and its policy refuses one.
page.on("pageerror", (e) => { if (page.url().startsWith(site)) faults.push(`error on ${page.url()}: ${e.message}`); });
const says = (tab, text) => tab.waitForFunction((t) => document.body?.innerText.includes(t), patience, text);
const click = async (tab, text) => {
  const link = await tab.waitForSelector(`::-p-xpath(//*[self::a or self::button][contains(normalize-space(.), "${text}")])`, patience);
  await link.click();
};
const step = (what) => console.log(what);
try {
  await page.goto(site);
  await click(page, "Sign in");
  await click(page, "Fern Fictive");
  await says(page, "2 results are in the archive");
  step("signed in");

  // HTTP/1.1 has six connections to a host.
  const tabs = [];
  for (let i = 0; i < 7; i++) {
    const tab = await browser.newPage();
    await tab.goto(`${site}/annotations`);
    await says(tab, "Your annotations");
    tabs.push(tab);
  }
  for (const tab of tabs) await tab.close();
  step("seven tabs are open at once");

  await page.bringToFront();
  await page.goto(`${site}/subscribe`);
  await (await page.waitForSelector('form[action="/subscribe"] button')).click();
  await says(page, "You are Premium now.");
  await page.evaluate(() => { window.sameDocument = true; });
  await page.waitForFunction(() => /^[0-2] of 2 back/.test(document.title), patience);
  await says(page, "All 2 of your files are back.");
  if (!(await page.evaluate(() => window.sameDocument))) faults.push("the page was loaded anew");
  step("both files came back while the page was open");

  await (await page.waitForSelector("[data-back] button")).click();
  await page.waitForFunction(() => document.readyState === "complete" && !document.querySelector("[data-back]"), patience);
  const got = await page.evaluate(async () => {
    const zip = await fetch("/annotations/results.zip"), bytes = new Uint8Array(await zip.arrayBuffer());
    const list = await (await fetch("/api/v1/manifest")).json();
    return { status: zip.status, head: String.fromCharCode(...bytes.slice(0, 2)), end: bytes.length, files: list.files.length, complete: list.complete };
  });
  if (got.status !== 200 || got.head !== "PK" || got.files !== 2 || got.complete !== true) faults.push(`the zip and the manifest are ${JSON.stringify(got)}`);
  step("the zip and the manifest have both files");

  await page.goto(`${site}/account`);
  await says(page, "Firefox on Linux");
  await click(page, "Sign out");
  await says(page, "Sign in");
  step("signed out");
} catch (e) {
  faults.push(`${e.message} at ${page.url()}: ${await page.evaluate(() => document.body?.innerText.slice(0, 1000)).catch(() => "")}`);
}
await browser.close();
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
