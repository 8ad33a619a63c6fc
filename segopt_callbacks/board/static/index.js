// The page: which runs are shown, which weight is chosen, and what TensorBoard has new.

import { element } from "./dom.js";
import { runSection } from "./run.js";
import { readRun, readRuns } from "./server.js";
import { followTheme } from "./theme.js";
import { weightPanel } from "./weight.js";

const PERIOD = 5000; // ms; TensorBoard itself looks for new data every 5 s
const SHOWN_AT_FIRST = 2; // runs, the ones written last
const WIDE = window.matchMedia("(min-width: 1000px)"); // as in style.css

const page = { runs: [], shown: null, data: new Map(), chosen: null };
const parts = {
  picker: element("fieldset", { class: "picker" }),
  trouble: element("p", { class: "trouble", role: "alert", hidden: "" }),
  runs: element("main", {}),
  panel: element("aside", { class: "panel", "aria-label": "The chosen weight", hidden: "" }),
};

export async function render() {
  document.documentElement.lang = "en";
  document.title = "Compression";
  const style = element("link", { rel: "stylesheet", href: "style.css" });
  const styled = new Promise((resolve) => ["load", "error"].forEach((event) => style.addEventListener(event, resolve)));
  document.head.append(style);
  await styled;
  followTheme(() => document.querySelectorAll(".map").forEach((map) => map.dispatchEvent(new Event("theme"))));
  document.body.append(element("header", {}, element("h1", {}, "Compression"), parts.picker), parts.trouble, element("div", { class: "page" }, parts.runs, parts.panel));
  document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  await follow();
}

/** Asks for what is new, again and again; not while nobody looks. */
async function follow() {
  if (!document.hidden) {
    try {
      await update();
      parts.trouble.hidden = true;
    } catch (error) {
      parts.trouble.textContent = `TensorBoard gave no answer (${error.message}). The page asks again in 5 s.`;
      parts.trouble.hidden = false;
    }
  }
  setTimeout(follow, PERIOD);
}

async function update() {
  const runs = await readRuns();
  const names = (some) => some.map((one) => one.run).join("\n");
  const isOther = names(runs) !== names(page.runs) || page.shown === null;
  page.runs = runs;
  for (const gone of [...page.data.keys()].filter((run) => !runs.some((one) => one.run === run))) {
    page.data.delete(gone);
    page.shown.delete(gone);
  }
  page.shown ??= new Set(runs.slice(0, SHOWN_AT_FIRST).map((one) => one.run));
  if (runs.length > 0 && page.shown.size === 0 && page.data.size === 0) page.shown.add(runs[0].run);
  const isNew = await readShown();
  if (isOther) drawPicker();
  if (isOther || isNew) await draw();
}

async function readShown() {
  const due = page.runs.filter((one) => page.shown.has(one.run) && page.data.get(one.run)?.wall_time !== one.wall_time);
  for (const data of await Promise.all(due.map((one) => readRun(one.run)))) page.data.set(data.run, data);
  return due.length > 0;
}

function drawPicker() {
  const choices = [...page.runs].sort((one, other) => one.name.localeCompare(other.name)).map((one) => {
    const box = element("input", { type: "checkbox", checked: page.shown.has(one.run) ? "" : null });
    box.addEventListener("change", async () => {
      if (box.checked) page.shown.add(one.run);
      else page.shown.delete(one.run);
      await readShown();
      await draw();
    });
    return element("label", {}, box, one.name);
  });
  parts.picker.hidden = choices.length < 2;
  parts.picker.replaceChildren(element("legend", {}, "Runs, side by side"), ...choices);
}

function shownData() {
  const data = [...page.shown].map((run) => page.data.get(run)).filter(Boolean);
  return data.sort((one, other) => one.name.localeCompare(other.name));
}

async function draw() {
  const runs = shownData();
  if (page.chosen === null && WIDE.matches) page.chosen = largest(runs);
  const kept = focusAndOpen();
  const empty = page.runs.length > 0 ? "Choose a run above." : "No run yet. CompressionSummaries writes one, in this folder or below.";
  const sections = runs.map((data) => runSection(data, runs, page.chosen, choose));
  parts.runs.replaceChildren(...(sections.length > 0 ? sections : [element("p", { class: "muted" }, empty)]));
  kept();
  await drawPanel(runs);
}

async function drawPanel(runs) {
  const path = page.chosen;
  const content = path ? await weightPanel(path, runs, close) : [];
  if (path !== page.chosen) return; // another was chosen meanwhile
  parts.panel.hidden = content.length === 0;
  parts.panel.replaceChildren(...content);
}

async function choose(path, run) {
  page.chosen = path;
  for (const row of parts.runs.querySelectorAll("[role=option]")) {
    const isChosen = row.dataset.path === path;
    row.setAttribute("aria-selected", String(isChosen));
    row.setAttribute("tabindex", isChosen ? "0" : "-1");
    if (isChosen && row.closest(".run").dataset.run === run) row.focus();
  }
  await drawPanel(shownData());
  document.activeElement.closest("[role=option]")?.scrollIntoView({ block: "nearest" }); // above the details, on a phone
}

function close() {
  page.chosen = "";
  for (const row of parts.runs.querySelectorAll("[aria-selected=true]")) row.setAttribute("aria-selected", "false");
  drawPanel([]);
}

function largest(runs) {
  const size = (weight) => weight.shape.reduce((product, side) => product * side, 1);
  return runs[0]?.weights.reduce((best, one) => (size(one) > size(best) ? one : best)).path ?? null;
}

/** Remembers which row has the focus and which details are open; what it returns puts that back in the new page. */
function focusAndOpen() {
  const key = (node) => [node.closest(".run")?.dataset.run, node.dataset.path ?? node.dataset.key].join("\n");
  const focused = document.activeElement?.closest("[role=option]");
  const [row, open] = [focused && key(focused), [...parts.runs.querySelectorAll("details[open]")].map(key)];
  return () => {
    for (const one of parts.runs.querySelectorAll("[role=option]")) if (row === key(one)) one.focus({ preventScroll: true });
    for (const one of parts.runs.querySelectorAll("details")) one.open = open.includes(key(one));
  };
}
