// The list by keyboard. Without it everything works by mouse, touch, Tab and Enter; it can be switched off.
"use strict";
(() => {
  const list = () => [...document.querySelectorAll("table.held tbody tr")];
  const dialog = document.getElementById("keys");
  const switched = document.getElementById("keys-on");
  const kept = "darban-keys";
  let last = null; // id of the row that was acted on or looked at, so that focus is not lost when it is made anew

  const remember = (value) => { try { localStorage.setItem(kept, value); } catch { /* a private window */ } };
  const isOn = () => { try { return localStorage.getItem(kept) !== "off"; } catch { return true; } };
  switched.checked = isOn();
  switched.addEventListener("change", () => remember(switched.checked ? "on" : "off"));

  const here = () => document.activeElement?.closest?.("table.held tbody tr") ?? null;
  const go = (row) => { if (row) { last = row.id; row.focus(); row.scrollIntoView({ block: "nearest" }); } };
  const move = (by) => {
    const rows = list();
    const at = rows.indexOf(here() ?? document.getElementById(last));
    go(rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + by))]);
  };
  const press = (selector) => (here() ?? document.getElementById(last))?.querySelector(selector)?.click();
  const acts = {
    j: () => move(1),
    k: () => move(-1),
    x: () => press("input[type=checkbox]"),
    o: () => press("td a"),
    r: () => press("button[formaction$='/release']"),
    s: () => press("button[formaction$='/spam']"),
    d: () => press("button[formaction$='/delete']"),
    "/": () => { const field = document.querySelector("input[type=search]"); field.focus(); field.select(); },
    "?": () => dialog.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog, [contenteditable]");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.key === "Enter" && event.target === here()) { event.preventDefault(); press("td a"); return; }
    // a Persian keyboard writes other letters on the same keys
    const key = /^Key[A-Z]$/.test(event.code) && !/^[a-z]$/i.test(event.key) ? event.code[3].toLowerCase() : event.key;
    const act = key === "?" || key === "؟" ? acts["?"] : acts[key];
    if (act && (isOn() || act === acts["?"])) { event.preventDefault(); act(); }
  });
  document.addEventListener("focusin", () => { const row = here(); if (row?.id) last = row.id; });

  // all on this page
  const dress = () => {
    document.querySelectorAll(".keys, label:has(#every)").forEach((one) => { one.hidden = false; });
  };
  document.addEventListener("change", (event) => {
    if (event.target.id !== "every") return;
    document.querySelectorAll("input[name=id][form=bulk]").forEach((one) => { one.checked = event.target.checked; });
  });
  document.addEventListener("click", (event) => { if (event.target.closest(".keys")) dialog.showModal(); });

  // a row that was made anew keeps its focus and its mark
  let marked = new Set(), focused = "";
  const before = () => {
    marked = new Set([...document.querySelectorAll("input[name=id]:checked")].map((one) => one.value));
    focused = here()?.id ?? "";
  };
  const after = () => {
    dress();
    document.querySelectorAll("input[name=id]").forEach((one) => { if (marked.has(one.value)) one.checked = true; });
    if (focused && !here()) go(document.getElementById(focused));
  };
  document.body.addEventListener("htmx:beforeSwap", before);
  document.body.addEventListener("htmx:afterSwap", after);
  document.body.addEventListener("htmx:oobAfterSwap", after);
  // nobody looks: nothing is asked
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.id === "news") event.preventDefault();
  });
  dress();
})();
