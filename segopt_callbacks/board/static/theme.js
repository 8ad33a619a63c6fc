// Light or dark, as TensorBoard's own page is; opened by itself, as the system is.

const system = window.matchMedia("(prefers-color-scheme: dark)");

/** Sets `data-theme` of the page now and with every change, and calls `redraw` after a change. */
export function followTheme(redraw) {
  const board = window.parent === window ? null : window.parent.document.body;
  const set = () => {
    const isDark = board ? board.classList.contains("dark-mode") : system.matches;
    const theme = isDark ? "dark" : "light";
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    redraw();
  };
  set();
  system.addEventListener("change", set);
  if (board) new MutationObserver(set).observe(board, { attributeFilter: ["class"] });
}

/** A function from a fraction in [0, 1] to a colour between those of the style sheet. */
export function ramp() {
  const style = getComputedStyle(document.documentElement);
  const stops = ["--ramp-0", "--ramp-1", "--ramp-2"].map((name) => parsed(style.getPropertyValue(name)));
  return (value) => {
    const at = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
    const below = Math.min(Math.floor(at), stops.length - 2);
    const parts = stops[below].map((part, channel) => part + (at - below) * (stops[below + 1][channel] - part));
    return `rgb(${parts.map(Math.round).join(" ")})`;
  };
}

function parsed(hex) {
  return [1, 3, 5].map((from) => Number.parseInt(hex.trim().slice(from, from + 2), 16));
}
