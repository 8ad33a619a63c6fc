// Elements and figures. All text becomes text nodes, so that no name of a run or a layer is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`null` ones left out; `on...` ones are listeners) and children (`null` ones left out). */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same, of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** A fraction, "–" where there is none. */
export function fraction(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}

/** A measured figure with three digits. */
export function digits(value) {
  if (value === null || value === undefined) return "–";
  const isTiny = value !== 0 && Math.abs(value) < 1e-4;
  const text = isTiny ? value.toExponential(2) : value.toLocaleString("en", { maximumSignificantDigits: 3 });
  return text.replaceAll("-", "−");
}

export function count(value) {
  return value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en");
}

export function kib(bytes) {
  return bytes === null || bytes === undefined ? "–" : (bytes / 1024).toLocaleString("en", { maximumFractionDigits: 1 });
}

/** Paths without what all of them share at their beginning and at their end. */
export function shortNames(paths) {
  const parts = paths.map((path) => path.split("/"));
  const shortest = Math.min(...parts.map((one) => one.length)) - 1;
  const shared = (at) => parts.every((one) => one.at(at) === parts[0].at(at));
  let head = 0;
  while (head < shortest && shared(head)) head += 1;
  let tail = 0;
  while (tail < shortest - head && shared(-1 - tail)) tail += 1;
  return new Map(paths.map((path, place) => [path, parts[place].slice(head, parts[place].length - tail).join("/")]));
}
