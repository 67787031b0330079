// Shows times in the reader's own zone, follows the user's status changes, and
// updates the page. The page is complete when it is loaded. Without this script it
// does not change until somebody reloads it.
(() => {
  "use strict";
  // In the page's language and the reader's zone.
  const form = (options) => new Intl.DateTimeFormat("en-GB", options);
  const date = { day: "numeric", month: "short", year: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit" };
  const day = form(date), clock = form(time), zoned = form({ ...time, timeZoneName: "short" });
  const universal = form({ ...date, ...time, timeZone: "UTC" });
  const today = day.format(new Date());
  const utc = (at) => `${universal.format(at)} UTC`;

  // A time in the list is short, and tells the other zone when it is pointed at; one
  // among the facts tells both.
  function localize(node) {
    const at = new Date(node.dateTime);
    if (isNaN(at)) return;
    if ("both" in node.dataset) {
      node.textContent = `${day.format(at)}, ${zoned.format(at)}`;
      const other = document.createElement("span");
      other.className = "utc";
      other.textContent = utc(at);
      node.append(" ", other);
      return;
    }
    const on = day.format(at);
    node.textContent = on === today ? clock.format(at) : `${on}, ${clock.format(at)}`;
    node.title = utc(at);
  }
  for (const node of document.querySelectorAll("time[datetime]")) localize(node);

  const timeOf = (iso) => {
    const node = document.createElement("time");
    node.dateTime = iso;
    localize(node);
    return node;
  };

  const url = document.body.dataset.live;
  if (!url || !window.EventSource) return;

  const rows = new Map();
  for (const row of document.querySelectorAll("[data-job]")) rows.set(row.dataset.job, row);
  if (rows.size === 0 && !document.querySelector("[data-archive]")) return;

  const announce = document.querySelector("[data-announce]");
  const text = (node, value) => {
    if (node && node.textContent !== value) node.textContent = value;
  };

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

  const stepNames = ["Planned", "Thawing", "Copying", "Checking", "Ready"];

  function showSteps(card, done) {
    let steps = card.querySelector("[data-steps]");
    if (!steps) {
      if (done === 0) return;
      steps = document.createElement("ol");
      steps.className = "steps";
      steps.dataset.steps = "";
      for (const name of stepNames) {
        const li = document.createElement("li");
        const told = document.createElement("span");
        told.className = "hidden";
        li.append(name, told);
        steps.append(li);
      }
      card.querySelector("[data-sentence]").after(steps);
    }
    const all = [...steps.children];
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

  // When the file is usually out of the archive.
  function showSpan(card, change) {
    if (change.state === "planned") return;
    for (const p of card.querySelectorAll("[data-expected]")) p.remove();
    const say = (...words) => {
      const p = document.createElement("p");
      p.className = "expected";
      p.dataset.expected = "";
      p.append(...words);
      card.querySelector("[data-actions]").before(p);
    };
    if (change.fallback) say(change.fallback);
    if (change.from) say("Usually out of the archive between ", timeOf(change.from), " and ", timeOf(change.to), ".");
  }

  function showDetail(page, change) {
    const card = page.querySelector("[data-card]");
    if (!card.querySelector("[data-sentence]")) return;
    card.dataset.tone = change.tone;
    const sentence = card.querySelector("[data-sentence]");
    // Several steps have the same sentence, which is announced only once. Then the step is
    // announced.
    if (changed(page, change)) text(announce, sentence.textContent === change.sentence ? stepNames[change.step - 1] || change.label : "");
    text(sentence, change.sentence);
    showSteps(card, change.step);
    showBytes(card, change);
    if (changed(page, change)) showSpan(card, change);
    const actions = card.querySelector("[data-actions]");
    if (change.state === "restored" && !actions.querySelector("[data-done]")) {
      const link = document.createElement("a");
      link.className = "button";
      link.href = page.dataset.download;
      link.dataset.done = "";
      link.textContent = "Download the result";
      actions.replaceChildren(link);
    } else if (change.state !== "restored" && change.state !== "archived") {
      actions.replaceChildren();
    }
  }

  const changed = (row, change) => row.dataset.state !== change.state;

  // When a file came back, ask how many are left. Many files can come back at once, so
  // ask at most every other second.
  const note = document.querySelector("[data-archive]");
  let asking = 0;
  function askLeft() {
    if (!note || asking) return;
    asking = setTimeout(async () => {
      asking = 0;
      try {
        const answer = await fetch("/api/v1/archive", { headers: { Accept: "application/json" } });
        if (answer.ok) showLeft(await answer.json());
      } catch { /* the next one asks again */ }
    }, 2200);
  }
  function showLeft(archive) {
    const by = note.querySelector("[data-by]");
    if (archive.files === 0) {
      note.dataset.tone = "good";
      note.querySelector("use").setAttribute("href", "#check");
      note.querySelector("p").replaceChildren(note.querySelector("[data-left]"), " Nothing of yours is in the archive any more.");
      text(note.querySelector("[data-left]"), "All your files are back.");
      if (by) by.remove();
      return;
    }
    const more = archive.more ? " and more" : "";
    text(note.querySelector("[data-left]"), `${archive.files}${more} ${archive.files === 1 ? "file is" : "files are"} coming back${archive.bytes ? `, ${bytes(archive.bytes)}` : ""}.`);
    if (by && archive.by) by.replaceChildren("Usually all back between ", timeOf(archive.by.from), " and ", timeOf(archive.by.to), ".");
    // The last files may come back without an event, so ask again later.
    askLater();
  }
  let later = 0;
  function askLater() {
    clearTimeout(later);
    later = setTimeout(askLeft, 15000);
  }

  const source = new EventSource(url);
  source.addEventListener("status", (event) => {
    const change = JSON.parse(event.data);
    if (change.state === "restored") askLeft();
    const row = rows.get(change.job);
    if (!row) return;
    const news = changed(row, change);
    if (news) showBadge(row, change);
    if (row.querySelector("[data-card]")) showDetail(row, change);
    else if (news) text(announce, `${row.querySelector("[data-name]").textContent}: ${change.label}`);
    row.dataset.state = change.state;
  });
  // The server cannot say which changes this page missed. Another server may not know that
  // yet, and many pages reload at once. So a page does not reload twice in a row, and the
  // pages do not reload together.
  source.addEventListener("reload", () => {
    source.close();
    setTimeout(() => location.reload(), Math.max(0, 5000 - performance.now()) + 2000 * Math.random());
  });
  // A page in the browser's back cache must not hold its stream.
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
