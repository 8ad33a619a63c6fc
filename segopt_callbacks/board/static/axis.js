// The horizontal axis, one for the curve and all rows of a heat map: optimizer steps.

/** Where the column of each step begins and ends. What was written at a step stands for the time since the last write. */
export function edges(steps) {
  if (steps.length === 0) return [0, 1];
  const first = steps.length > 1 ? Math.max(0, 2 * steps[0] - steps[1]) : 0;
  return [Math.min(first, steps[0] - 1), ...steps];
}

/** Step -> place in [0, 1]. */
export function place(step, bounds) {
  const [first, last] = [bounds[0], bounds[bounds.length - 1]];
  return (step - first) / (last - first);
}

/** Place in [0, 1] -> number of the column there. */
export function columnAt(share, bounds) {
  const step = bounds[0] + share * (bounds[bounds.length - 1] - bounds[0]);
  const found = bounds.slice(1).findIndex((end) => step <= end);
  return found < 0 ? bounds.length - 2 : found;
}
