// Layers x steps, coloured by sparsity: a row for each weight, in the order of the model.

import { columnAt, edges, place } from "./axis.js";
import { curve } from "./curve.js";
import { count, element, fraction, shortNames } from "./dom.js";
import { ramp } from "./theme.js";

const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * The curve and the heat map of one run.
 *
 * `chosen` is the path of the weight that is shown in detail; `choose(path)` is called with another. Up and down move
 * among weights, left and right among steps.
 */
export function heatMap(data, chosen, choose) {
  const bounds = edges(data.steps);
  const names = shortNames(data.weights.map((weight) => weight.path));
  const readout = element("p", { class: "readout", role: "status" }, "\u00a0");
  const cursor = element("div", { class: "cursor", hidden: "" });
  const rows = data.weights.map((weight, number) => row(weight, names.get(weight.path), weight.path === chosen, number === 0));
  if (!rows.some((one) => one.getAttribute("aria-selected") === "true")) rows[0]?.setAttribute("tabindex", "0");
  const list = element("div", { role: "listbox", "aria-label": `Weights of ${data.name}` }, rows);
  const map = element("div", { class: "map" }, curve(data, bounds), list, element("div", { class: "cursors" }, cursor));
  let column = data.steps.length - 1;
  let weight = data.weights.find((one) => one.path === chosen);

  const point = (to) => {
    column = Math.min(Math.max(to, 0), data.steps.length - 1);
    cursor.hidden = false;
    cursor.style.left = `${100 * place(data.steps[column], bounds)}%`;
    readout.textContent = told(data, weight, names, column);
  };
  map.addEventListener("pointermove", (event) => {
    const plot = map.querySelector(".plot").getBoundingClientRect();
    const share = (event.clientX - plot.left) / plot.width;
    if (share < 0 || share > 1) return;
    weight = data.weights[rows.indexOf(event.target.closest("[role=option]"))] ?? weight;
    point(columnAt(share, bounds));
  });
  list.addEventListener("click", (event) => {
    const taken = rows.indexOf(event.target.closest("[role=option]"));
    if (taken >= 0) choose(data.weights[taken].path, data.run);
  });
  list.addEventListener("keydown", (event) => {
    const at = rows.indexOf(event.target.closest("[role=option]"));
    const isChoice = event.key === "Enter" || event.key === " ";
    if (at < 0 || !(isChoice || event.key in KEYS || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    const [down, right] = KEYS[event.key] ?? [0, 0];
    weight = data.weights[at];
    if (right) return point(column + right);
    const to = { Home: 0, End: rows.length - 1 }[event.key] ?? Math.min(Math.max(at + down, 0), rows.length - 1);
    choose(data.weights[to].path, data.run);
  });
  paintWhenSized(map, () => paint(rows, data, bounds));
  return element("div", { class: "heat" }, map, axis(bounds), legend(data), readout);
}

function row(weight, name, isChosen) {
  const now = weight.sparsity.at(-1);
  return element(
    "div",
    {
      class: "row",
      role: "option",
      "aria-selected": String(isChosen),
      "aria-label": `${weight.path}: sparsity ${fraction(now)}, target ${fraction(weight.target.at(-1))}`,
      tabindex: isChosen ? "0" : "-1",
      title: weight.path,
      "data-path": weight.path,
    },
    element("div", { class: "label" }, name),
    element("div", { class: "plot" }, element("canvas", { "aria-hidden": "true" })),
    element("div", { class: "value" }, fraction(now)),
  );
}

function paint(rows, data, bounds) {
  const colour = ramp();
  rows.forEach((one, number) => {
    const canvas = one.querySelector("canvas");
    const width = Math.round(canvas.clientWidth * window.devicePixelRatio);
    if (width === 0) return; // of a page that is not shown
    canvas.width = width;
    canvas.height = 1;
    const context = canvas.getContext("2d");
    data.weights[number].sparsity.forEach((value, column) => {
      if (value === null) return;
      const [left, right] = [column, column + 1].map((at) => Math.round(width * place(bounds[at], bounds)));
      context.fillStyle = colour(value);
      context.fillRect(left, 0, Math.max(right - left, 1), 1);
    });
  });
}

function paintWhenSized(map, painted) {
  new ResizeObserver(painted).observe(map);
  map.addEventListener("theme", painted);
}

function told(data, weight, names, column) {
  const one = (series) => `${fraction(series.sparsity[column])} (target ${fraction(series.target[column])})`;
  const ofWeight = weight ? ` · ${names.get(weight.path)} ${one(weight)}` : "";
  return `Step ${count(data.steps[column])} · all weights ${one(data)}${ofWeight}`;
}

function axis(bounds) {
  const [first, last] = [bounds[0], bounds.at(-1)];
  const marks = [first, (first + last) / 2, last].map((step) => element("span", {}, count(step)));
  return element("div", { class: "row axis", "aria-hidden": "true" }, element("div", { class: "label" }, "step"), element("div", { class: "plot" }, marks), element("div", { class: "value" }));
}

function legend(data) {
  const hasTarget = data.target.some((value) => value !== null);
  return element(
    "p",
    { class: "legend" },
    element("span", { class: "key actual" }, "sparsity, all weights"),
    hasTarget ? element("span", { class: "key target" }, "target, pruned weights") : null,
    element("span", { class: "scale" }, "0", element("i", {}), "1 fraction of zeros"),
  );
}
