// How the values of one weight lie, with the values that it shares.

import { count, digits, drawn, element } from "./dom.js";

/** Columns as high as the logarithm of what lies there: a tail of single weights shows beside thousands of zeros. */
export function histogram(buckets, shared) {
  const filled = buckets.filter((bucket) => bucket[2] > 0);
  if (filled.length === 0) return element("p", { class: "muted" }, "No finite values.");
  const [low, high] = [buckets[0][0], buckets.at(-1)[1]];
  const x = (value) => (1000 * (value - low)) / (high - low || 1);
  const largest = Math.log1p(Math.max(...filled.map((bucket) => bucket[2])));
  const columns = filled.map(([left, right, size]) => {
    const height = Math.max((100 * Math.log1p(size)) / largest, 2);
    const holdsZero = left <= 0 && 0 <= right;
    return drawn(
      "rect",
      { class: holdsZero ? "zero" : null, x: x(left), y: 100 - height, width: Math.max(x(right) - x(left) - 4, 2), height },
      drawn("title", {}, `${digits(left)} to ${digits(right)}: ${count(size)} weights`),
    );
  });
  const lines = (shared ?? []).map((value) => drawn("path", { class: "shared", d: `M${x(value).toFixed(1)} -14V100` }));
  const label = `Histogram of ${count(filled.reduce((sum, bucket) => sum + bucket[2], 0))} values`;
  return element(
    "figure",
    { class: "histogram" },
    drawn("svg", { viewBox: "0 -16 1000 116", preserveAspectRatio: "none", role: "img", "aria-label": label }, columns, lines),
    element("div", { class: "ends" }, element("span", {}, digits(low)), element("span", {}, digits(high))),
    element(
      "p",
      { class: "legend" },
      element("span", { class: "key columns" }, "weights, logarithmic"),
      element("span", { class: "key zero" }, "zero lies here"),
      lines.length > 0 ? element("span", { class: "key shared" }, `${lines.length} shared values`) : null,
    ),
  );
}
