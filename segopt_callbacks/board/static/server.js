// What is asked of TensorBoard. The page's base address is that of the plugin.

async function answered(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${response.status}: ${(await response.text()).slice(0, 300)}`);
  return response.json();
}

function withArguments(route, given) {
  return `${route}?${new URLSearchParams(given)}`;
}

export async function readRuns() {
  return (await answered("runs")).runs;
}

export function readRun(run) {
  return answered(withArguments("run", { run }));
}

export function readWeight(run, path) {
  return answered(withArguments("weight", { run, path }));
}

/** The step is not read; with it, a picture of another step has another address, and is not taken from a cache. */
export function maskAddress(run, path, step) {
  return withArguments("mask", { run, path, step });
}
