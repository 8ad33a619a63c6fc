// One weight in detail, in each run that is shown.

import { count, digits, element, fraction } from "./dom.js";
import { histogram } from "./histogram.js";
import { maskAddress, readWeight } from "./server.js";

const LARGEST_CODE = { int8: 127, int4: 7 };

/** A card for each run that has the weight; `close` leaves it. */
export async function weightPanel(path, runs, close) {
  const having = runs.map((data) => [data, data.weights.find((weight) => weight.path === path)]).filter(([, one]) => one);
  const cards = await Promise.all(having.map(([data, weight]) => card(data, weight, having.length > 1)));
  return [
    element(
      "div",
      { class: "panel-head" },
      element("h2", {}, path),
      element("button", { type: "button", class: "close", onclick: close, "aria-label": "Close the details" }, "×"),
    ),
    ...(cards.length > 0 ? cards : [element("p", { class: "muted" }, "No run that is shown has this weight.")]),
  ];
}

async function card(data, weight, isOneOfSeveral) {
  const told = await readWeight(data.run, weight.path);
  const mask = told.mask_step === null ? null : maskPicture(data.run, weight.path, told.mask_step);
  return element(
    "section",
    { class: "card" },
    isOneOfSeveral ? element("h3", {}, data.name) : null,
    histogram(told.buckets, weight.values),
    facts(weight, data.results),
    mask,
  );
}

function facts(weight, results) {
  const elements = weight.shape.reduce((product, side) => product * side, 1);
  const told = [
    ["weights", `${weight.shape.join(" × ")} = ${count(elements)}`],
    ["sparsity", `${fraction(weight.sparsity.at(-1))}, target ${fraction(weight.target.at(-1))}`],
    ["distinct values", count(weight.distinct)],
    ["range", `${digits(weight.low)} to ${digits(weight.high)}`],
  ];
  if (weight.error !== undefined) told.push(["error of clustering", `${digits(weight.error)} of the variance`]);
  const stored = inFiles(weight.path, results);
  return [
    element("dl", {}, [...told, ...stored].map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    stored.length > 0 ? element("p", { class: "legend" }, "Files hold weights with their BatchNormalization folded in.") : null,
  ];
}

/** How files hold the weight; those that hold it alike in one line. */
function inFiles(path, results) {
  const told = new Map();
  for (const [name, entry] of Object.entries(results?.formats ?? {})) {
    const stored = entry.weights?.[path];
    if (stored) told.set(scales(stored), [...(told.get(scales(stored)) ?? []), name]);
  }
  return [...told].map(([text, names]) => [`in ${names.join(", ")}`, text]);
}

function scales({ dtype, scales: number, scale_range: [smallest, largest] }) {
  const [low, high] = [digits(smallest), digits(largest)];
  const told = number === 1 ? `scale ${high}` : `${count(number)} scales, ${low === high ? `all ${high}` : `${low} to ${high}`}`;
  const code = LARGEST_CODE[dtype];
  return `${dtype}, ${told}${code ? `, range ±${digits(code * largest)}` : ""}`;
}

function maskPicture(run, path, step) {
  return element(
    "figure",
    { class: "mask" },
    element("img", { src: maskAddress(run, path, step), alt: `Mask of ${path}, kept weights dark`, loading: "lazy" }),
    element("figcaption", {}, `Mask at step ${count(step)}: a column for each output channel, a row for each weight that leads there, kept ones dark.`),
  );
}
