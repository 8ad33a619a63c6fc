// Sparsity of all weights together, with its target.

import { place } from "./axis.js";
import { drawn, element, fraction } from "./dom.js";

/** A row like those of the heat map below: axis, curves, the value now. */
export function curve(data, bounds) {
  const plot = drawn(
    "svg",
    { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": told(data) },
    [0, 50, 100].map((y) => drawn("path", { class: "grid", d: `M0 ${y}H1000` })),
    line(data.sparsity, bounds, "actual"),
    line(data.target, bounds, "target"),
  );
  return element(
    "div",
    { class: "row curve" },
    element("div", { class: "label ticks", "aria-hidden": "true" }, ["1", "0.5", "0"].map((one) => element("span", {}, one))),
    element("div", { class: "plot" }, plot),
    element("div", { class: "value" }, fraction(data.sparsity.at(-1))),
  );
}

function line(values, bounds, kind) {
  const points = [];
  values.forEach((value, column) => {
    if (value !== null) points.push([1000 * place(bounds[column + 1], bounds), 100 * (1 - value), column]);
  });
  if (points.length === 0) return null;
  const [, y, column] = points[0];
  const begin = points.length === 1 ? [[1000 * place(bounds[column], bounds), y]] : []; // one point alone is no line
  const path = [...begin, ...points].map(([x, at]) => `${x.toFixed(1)} ${at.toFixed(2)}`).join("L");
  return drawn("path", { class: kind, d: `M${path}` });
}

function told(data) {
  const target = data.target.at(-1);
  const aim = target === null ? "" : `, target ${fraction(target)} over pruned weights`;
  return `Sparsity of all weights, now ${fraction(data.sparsity.at(-1))}${aim}`;
}
