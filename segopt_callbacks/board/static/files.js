// Exported files of a run, and its settings.

import { digits, element, fraction, kib } from "./dom.js";

/** A row for each format; `null` before the fit has ended, and where nothing was exported. */
export function files(results) {
  const formats = Object.entries(results?.formats ?? {});
  if (formats.length === 0) return null;
  const metrics = [...new Set([results.metrics, ...formats.map(([, entry]) => entry.metrics ?? {})].flatMap(Object.keys))];
  const cells = (figures) => metrics.map((name) => element("td", {}, fraction(figures?.[name])));
  const rows = formats.map(([name, entry]) =>
    entry.status === "ok"
      ? element(
          "tr",
          {},
          element("th", { scope: "row", title: entry.file }, name),
          element("td", {}, kib(entry.bytes)),
          element("td", {}, kib(entry.gzip_bytes)),
          element("td", {}, digits(entry.latency_ms)),
          cells(entry.metrics),
        )
      : element("tr", { class: "failed" }, element("th", { scope: "row" }, name), element("td", { colspan: 3 + metrics.length }, entry.status)),
  );
  const model = element("tr", { class: "model" }, element("th", { scope: "row" }, "model in memory"), element("td", { colspan: 3 }), cells(results.metrics));
  const head = ["file", "KiB", "KiB, gzip", "ms, 1 thread", ...metrics].map((name) => element("th", { scope: "col" }, name));
  return table("Exported files", head, metrics.length > 0 ? [model, ...rows] : rows);
}

/** Settings of the callbacks; those that are not the same in all runs that are shown come first, marked. */
export function settings(data, runs) {
  const told = Object.entries(data.settings);
  if (told.length === 0) return null;
  const differing = new Set(told.filter(([name, value]) => runs.some((other) => other.settings[name] !== value)));
  const sorted = [...differing, ...told.filter((one) => !differing.has(one))];
  const rows = sorted.map((one) => {
    const [name, value] = one;
    return element("tr", { class: differing.has(one) ? "differs" : null }, element("th", { scope: "row" }, name), element("td", {}, String(value)));
  });
  const about = runs.length > 1 ? `${told.length} settings, ${differing.size} not as in all runs` : `${told.length} settings`;
  return element("details", { class: "settings", "data-key": "settings" }, element("summary", {}, about), element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, rows))));
}

function table(caption, head, rows) {
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {}, element("thead", {}, element("tr", {}, head)), element("tbody", {}, rows)),
  );
}
