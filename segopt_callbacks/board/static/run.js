// One run: its heat map, its files, its settings.

import { count, element, fraction } from "./dom.js";
import { files, settings } from "./files.js";
import { heatMap } from "./heat_map.js";

export function runSection(data, runs, chosen, choose) {
  return element(
    "section",
    { class: "run", "data-run": data.run },
    element("h2", {}, data.name === "." ? "This log directory" : data.name),
    element("p", { class: "muted" }, headline(data)),
    heatMap(data, chosen, choose),
    files(data.results),
    settings(data, runs),
  );
}

function headline(data) {
  const target = data.target.at(-1);
  const aim = target === null || target === undefined ? "" : `, target ${fraction(target)}`;
  const state = data.is_finished ? "finished" : "in training";
  return `Sparsity ${fraction(data.sparsity.at(-1))}${aim} · step ${count(data.step)} · ${state}`;
}
