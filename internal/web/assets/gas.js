// Shows times in the reader's own zone, follows the user's status changes, and keeps the
// page true. The page is complete when it is loaded. Without this script it does not change
// until somebody reloads it.
(() => {
  "use strict";
  // In the page's language and the reader's zone.
  const form = (options) => new Intl.DateTimeFormat("en-GB", options);
  const date = { day: "numeric", month: "short", year: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit" };
  const day = form(date), clock = form(time), zoned = form({ ...time, timeZoneName: "short" });
  const universal = form({ ...date, ...time, timeZone: "UTC" });
  const utc = (at) => `${universal.format(at)} UTC`;

  // A time in the list is short, and tells the other zone when it is pointed at; one among
  // the facts tells both. A reader in UTC has one zone.
  function localize(node) {
    const at = new Date(node.dateTime);
    if (isNaN(at)) return;
    const other = at.getTimezoneOffset() !== 0;
    if ("both" in node.dataset) {
      node.textContent = other ? `${day.format(at)}, ${zoned.format(at)}` : utc(at);
      if (!other) return;
      const span = document.createElement("span");
      span.className = "utc";
      span.textContent = utc(at);
      node.append(" ", span);
      return;
    }
    const on = day.format(at);
    node.textContent = on === day.format(new Date()) ? clock.format(at) : `${on}, ${clock.format(at)}`;
    if (other) node.title = utc(at);
  }
  const localizeAll = (root) => { for (const node of root.querySelectorAll("time[datetime]")) localize(node); };
  localizeAll(document);

  const timeOf = (at) => {
    const node = document.createElement("time");
    node.dateTime = at;
    localize(node);
    return node;
  };
  const text = (node, value) => {
    if (node && node.textContent !== value) node.textContent = value;
  };
  const announce = (value) => text(document.querySelector("[data-announce]"), value);
  const visible = () => document.visibilityState === "visible";
  const wait = (ms, signal) => new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); done(); });
  });

  // What the page says about its own liveness: "" if it is live.
  const offline = document.querySelector("[data-offline]");
  let told = "";
  function tell(state) {
    if (!offline || state === told || told === "signed out") return;
    told = state;
    if (state === "") { offline.replaceChildren(); return; }
    const note = document.createElement("div"), p = document.createElement("p"), b = document.createElement("b"), a = document.createElement("a");
    note.className = "note";
    note.dataset.tone = "quiet";
    if (state === "signed out") {
      b.textContent = "You are signed out.";
      a.textContent = "Sign in";
      document.querySelector("[data-signed-in]")?.remove();
    } else {
      b.textContent = "This page is not live.";
      a.textContent = "Reload";
    }
    a.href = location.href;
    p.append(b, state === "signed out" ? " This page shows how things were at " : " It shows how things were at ", timeOf(new Date(seen).toISOString()), ". ", a);
    note.append(p);
    offline.replaceChildren(note);
  }
  // When the page was last true.
  let seen = Date.now();

  // The page reads itself again, and changes what is different. Somebody who is not there
  // must not stay signed in by that, so the request says that it is the page's own.
  // The browser makes the document: a page of ours may make none out of text.
  function fetchPage() {
    return new Promise((done) => {
      const ask = new XMLHttpRequest();
      ask.open("GET", location.href);
      ask.responseType = "document";
      ask.timeout = 20000;
      ask.setRequestHeader("Gas-Unattended", "1");
      ask.onloadend = () => done(ask);
      ask.send();
    });
  }
  function morph(from, to) {
    if ("announce" in (from.dataset || {})) return;
    for (const { name } of [...from.attributes]) if (name !== "open" && !to.hasAttribute(name)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    const keyed = new Map();
    for (const child of from.children) if (child.dataset?.job) keyed.set(child.dataset.job, child);
    let at = from.firstChild;
    for (const want of [...to.childNodes]) {
      const key = want.dataset?.job, have = keyed.get(key) || at;
      if (!have || have.nodeName !== want.nodeName || key !== have.dataset?.job) {
        from.insertBefore(document.importNode(want, true), at);
        continue;
      }
      if (have === at) at = at.nextSibling;
      else from.insertBefore(have, at);
      if (have.nodeType === Node.ELEMENT_NODE) morph(have, want);
      else if (have.data !== want.data) have.data = want.data;
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }
  const scriptOf = (doc) => doc.querySelector("script[src]")?.getAttribute("src");
  let busy = null;
  async function refresh() {
    if (busy) return busy;
    busy = fetchPage();
    const answer = await busy;
    busy = null;
    const doc = answer.response;
    if (answer.status === 401) { signedOut(); return; }
    if (answer.status !== 200 || !doc?.querySelector("main") || new URL(answer.responseURL).pathname !== location.pathname) return;
    if (scriptOf(doc) !== scriptOf(document) || doc.body.dataset.who !== document.body.dataset.who) { location.reload(); return; }
    seen = Date.now();
    localizeAll(doc);
    for (const part of ["main", ".top nav", "footer"]) {
      const have = document.querySelector(part), want = doc.querySelector(part);
      if (have && want && !have.isEqualNode(want)) morph(have, want);
    }
    document.title = doc.title;
    for (const name of ["live", "poll", "plan"]) {
      if (name in doc.body.dataset) document.body.dataset[name] = doc.body.dataset[name];
      else delete document.body.dataset[name];
    }
    again();
  }
  // Changes come in waves, and the site counts them at most every other second.
  let soon = 0, later = 0;
  function refreshSoon() {
    soon ||= setTimeout(() => { soon = 0; if (visible()) refresh(); }, 2200);
  }
  // Some things change without an event: an approval, a pause, a dead letter.
  function again() {
    clearTimeout(later);
    if ("poll" in document.body.dataset && told !== "signed out") later = setTimeout(() => (visible() ? refresh() : 0), 15000);
  }

  const { who, live } = document.body.dataset;
  if (!who) return;
  again();

  const stepNames = ["Planned", "Thawing", "Copying", "Checking", "Ready"];
  const bytes = (n) => {
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let unit = 0;
    while (n >= 999.5 && unit < units.length - 1) { n /= 1000; unit++; }
    return `${n.toFixed(unit > 0 && n < 9.95 ? 1 : 0)} ${units[unit]}`;
  };

  function showBadge(row, change) {
    const badge = row.querySelector("[data-badge]");
    badge.dataset.tone = change.tone;
    badge.querySelector("use").setAttribute("href", `#${change.icon}`);
    text(badge.querySelector("[data-label]"), change.label);
  }
  function showSteps(card, done) {
    const all = [...card.querySelectorAll("[data-steps] li")];
    all.forEach((li, i) => {
      const mark = i + 1 < done || done === all.length ? "done" : i + 1 === done ? "now" : "next";
      li.dataset.mark = mark;
      text(li.querySelector("span"), mark === "next" ? "" : `, ${mark}`);
      if (mark === "now") li.setAttribute("aria-current", "step");
      else li.removeAttribute("aria-current");
    });
  }
  // The bar is there only while bytes are moving.
  function showBytes(card, change) {
    let box = card.querySelector("[data-bytes]");
    if (change.state !== "copying" || !(change.size > 0)) {
      if (box) box.remove();
      return;
    }
    if (!box) {
      box = document.createElement("p");
      box.className = "moving";
      box.dataset.bytes = "";
      const bar = document.createElement("progress");
      bar.setAttribute("aria-label", "Copied");
      box.append(bar, document.createElement("span"));
      card.querySelector("[data-actions]").before(box);
    }
    const bar = box.querySelector("progress");
    bar.max = change.size;
    bar.value = change.bytes || 0;
    text(box.querySelector("span"), `${bytes(change.bytes || 0)} of ${bytes(change.size)}`);
  }
  function showDetail(page, change, news) {
    const card = page.querySelector("[data-card]"), sentence = card.querySelector("[data-sentence]");
    if (!sentence) return;
    card.dataset.tone = change.tone;
    // Several steps have the same sentence, which is announced only once. Then the step is
    // announced.
    if (news) announce(sentence.textContent === change.sentence ? stepNames[change.step - 1] || change.label : "");
    text(sentence, change.sentence);
    showSteps(card, change.step);
    showBytes(card, change);
  }
  // A row shows its change at once. The rest of the page follows when the page reads itself.
  function show(change) {
    const row = [...document.querySelectorAll("[data-job]")].find((r) => r.dataset.job === change.job);
    const news = row && row.dataset.state !== change.state;
    if (news) showBadge(row, change);
    if (row?.querySelector("[data-card]")) showDetail(row, change, news);
    else if (news) announce(`\u2068${row.querySelector("[data-name]").textContent}\u2069: ${change.label}`);
    if (row) row.dataset.state = change.state;
    if (news || change.state !== "copying" && change.state !== "verifying") refreshSoon();
  }

  // One stream is enough for all tabs of a browser: HTTP/1.1 has six connections to a host.
  // The visible tab that holds the lock has the stream, and tells the others. A hidden tab
  // has none: it reads itself again when somebody looks at it.
  const channel = window.BroadcastChannel ? new BroadcastChannel(`gas-${who}`) : null;
  const share = (message) => channel?.postMessage(message);
  let last = "", leading = false, stop = null;
  const positionOf = () => new URL(document.body.dataset.live || "/", location.href).searchParams.get("after") || "";

  function hear(message) {
    if (message.plan !== undefined && message.plan !== document.body.dataset.plan && visible()) refreshSoon();
    if (message.hello && leading) share({ at: last, state: told });
    if (message.id) last = message.id;
    if (message.change) show(message.change);
    if (message.reload) refreshSoon();
    if (message.state !== undefined) (message.state === "signed out" ? signedOut() : tell(message.state));
    if (message.at !== undefined && message.at !== last) { last = message.at || last; refreshSoon(); }
  }
  if (channel) channel.onmessage = (event) => {
    if (!visible()) return;
    if (event.data.change) seen = Date.now();
    hear(event.data);
  };

  function signedOut() {
    tell("signed out");
    clearTimeout(later);
    stop?.abort();
  }
  function took(name, id, data) {
    if (id) last = id;
    if (name === "status") {
      const change = JSON.parse(data);
      share({ id, change });
      show(change);
    } else if (name === "reload") {
      // The server cannot say which changes this page missed. Many pages hear this at once,
      // so they do not ask together.
      share({ id, reload: true });
      setTimeout(refreshSoon, 3000 * Math.random());
    }
  }
  async function read(answer, alive) {
    const lines = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", id = "", name = "", data = [];
    for (;;) {
      const { value, done } = await lines.read();
      if (done) return;
      alive();
      const parts = (rest + value).split(/\r\n|\n/);
      rest = parts.pop();
      for (const line of parts) {
        if (line === "") {
          if (name) took(name, id, data.join("\n"));
          id = name = ""; data = [];
          continue;
        }
        const [, field, content] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "id") id = content;
        else if (field === "event") name = content;
        else if (field === "data") data.push(content);
      }
    }
  }
  const shortest = 1000, longest = 60000, silence = 45000;
  async function follow(signal) {
    for (let failures = 0; !signal.aborted;) {
      const stalled = new AbortController(), begun = Date.now();
      let timer = 0, after = 0, refused = false;
      const alive = () => { seen = Date.now(); clearTimeout(timer); timer = setTimeout(() => stalled.abort(), silence); };
      const whole = () => stalled.abort();
      signal.addEventListener("abort", whole);
      timer = setTimeout(whole, silence);
      try {
        const answer = await fetch("/events", { headers: last ? { "Last-Event-ID": last } : {}, redirect: "manual", cache: "no-store", signal: stalled.signal });
        const kind = answer.headers.get("Content-Type") || "";
        if (answer.status === 200 && kind.startsWith("text/event-stream")) {
          if (told !== "") refreshSoon();
          tell("");
          share({ state: "" });
          await read(answer, alive);
          // A stream ends now and then. One that ends at once is trouble.
          failures = Date.now() - begun > 5000 ? 0 : failures + 1;
        } else if (answer.status === 401) {
          share({ state: "signed out" });
          signedOut();
        } else if (answer.status === 429 || answer.status === 408 || answer.status >= 500 || answer.status === 200) {
          failures++;
          refused = true;
          after = 1000 * (Number(answer.headers.get("Retry-After")) || 0);
          answer.body?.cancel();
        } else {
          // Asking again would get the same answer.
          tell("not live");
          share({ state: "not live" });
          return;
        }
      } catch {
        if (!signal.aborted) failures++;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", whole);
      }
      if (signal.aborted) return;
      // A connection that breaks once comes back unnoticed.
      if (failures > 1 || refused) { tell("not live"); share({ state: "not live" }); }
      const delay = Math.min(shortest * 2 ** Math.max(failures - 1, 0), longest);
      await wait(Math.max(delay, Math.min(after, longest)) * (1 + Math.random() / 4), signal);
    }
  }
  async function lead(signal) {
    leading = true;
    share({ at: last });
    await follow(signal);
    leading = false;
  }
  function join() {
    if (live === undefined || !window.ReadableStream || stop && !stop.signal.aborted || told === "signed out") return;
    stop = new AbortController();
    const { signal } = stop;
    share({ hello: true });
    if (!navigator.locks) { lead(signal); return; }
    navigator.locks.request(`gas-${who}`, { signal }, () => lead(signal)).catch(() => {});
  }
  last = positionOf();
  if (live !== undefined && last === "") refreshSoon();
  share({ plan: document.body.dataset.plan });
  if (visible()) join();
  async function look() {
    if (!visible()) { stop?.abort(); return; }
    await refresh();
    last = positionOf() || last;
    join();
  }
  document.addEventListener("visibilitychange", look);
  // A page in the browser's back cache must hold neither lock nor stream.
  addEventListener("pagehide", () => stop?.abort());
  addEventListener("pageshow", (event) => { if (event.persisted) look(); });
})();
