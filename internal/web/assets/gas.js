// Follows the user's status changes and brings the page up to date. Everything
// here is on the page already when it is loaded; without this it gets old until
// it is reloaded.
(() => {
  "use strict";
  const url = document.body.dataset.live;
  if (!url || !window.EventSource) return;

  const rows = new Map();
  for (const row of document.querySelectorAll("[data-job]")) rows.set(row.dataset.job, row);
  if (rows.size === 0) return;

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

  function showSteps(card, done) {
    let steps = card.querySelector("[data-steps]");
    if (!steps) {
      if (done === 0) return;
      steps = document.createElement("ol");
      steps.className = "steps";
      steps.dataset.steps = "";
      for (const name of ["Planned", "Thawing", "Copying", "Checking", "Restored"]) {
        const li = document.createElement("li");
        li.textContent = name;
        steps.append(li);
      }
      card.querySelector("[data-sentence]").after(steps);
    }
    const all = [...steps.children];
    all.forEach((li, i) => {
      const mark = i + 1 < done || done === all.length ? "done" : i + 1 === done ? "now" : "next";
      li.dataset.mark = mark;
      if (mark === "now") li.setAttribute("aria-current", "step");
      else li.removeAttribute("aria-current");
    });
  }

  // The bar is there only while bytes are moving.
  function showBytes(card, change) {
    let box = card.querySelector("[data-bytes]");
    if (!(change.size > 0) || change.state === "restored") {
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

  function showDetail(page, change) {
    const card = page.querySelector("[data-card]");
    if (!card.querySelector("[data-sentence]")) return;
    card.dataset.tone = change.tone;
    text(card.querySelector("[data-sentence]"), change.sentence);
    showSteps(card, change.step);
    showBytes(card, change);
    if (change.state !== "requested") for (const p of card.querySelectorAll("[data-expected]")) p.remove();
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

  const source = new EventSource(url);
  source.addEventListener("status", (event) => {
    const change = JSON.parse(event.data);
    const row = rows.get(change.job);
    if (!row) return;
    const changed = row.dataset.state !== change.state;
    row.dataset.state = change.state;
    if (changed) showBadge(row, change);
    if (row.querySelector("[data-card]")) showDetail(row, change);
    else if (changed) text(announce, `${row.querySelector("[data-name]").textContent}: ${change.label}`);
  });
  // A page in the browser's back cache must not hold its stream.
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
