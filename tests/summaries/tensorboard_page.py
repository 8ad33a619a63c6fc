"""TensorBoard itself, opened in a real headless browser."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
GROUP = "tensorboard_plugins"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No request leaves the machine, and a container's root needs no sandbox.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_IN_EVERY_SHADOW = """
const found = [];
const visit = (root) => {
  found.push(...root.querySelectorAll(arguments[0]));
  for (const element of root.querySelectorAll('*')) if (element.shadowRoot) visit(element.shadowRoot);
};
visit(document);
return found;
"""


def browser_program() -> str | None:
    """The installed browser, `None` where there is none with its driver."""
    if shutil.which("chromedriver") is None:
        return None
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Asks until `condition` answers something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not appear within {seconds} s")
        time.sleep(0.25)
    return answer


def plugin_entry_points() -> dict[str, str]:
    """Name -> object, as pyproject.toml announces plugins of TensorBoard."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]


def announced(folder: Path) -> dict[str, str]:
    """The environment of a process that finds our plugins, also where the package was installed before it had any."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if not {one.name for one in metadata.entry_points(group=GROUP)} >= set(plugin_entry_points()):
        told = folder / "checkout-0.dist-info"
        told.mkdir(parents=True)
        (told / "METADATA").write_text("Metadata-Version: 2.1\nName: checkout\nVersion: 0\n")
        lines = [f"{name} = {value}" for name, value in plugin_entry_points().items()]
        (told / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        paths.insert(0, str(folder))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def served(
    log_dir: Path, messages: Path, python: str = sys.executable, environment: dict[str, str] | None = None
) -> Iterator[str]:
    """Runs `tensorboard --logdir`; the address of its page. What it prints goes to the file `messages`.

    Without an `environment`, the checkout's own plugin is announced to it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, "-m", "tensorboard.main", "--logdir", str(log_dir), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--load_fast", "false", "--reload_interval", "5"]
    environment = environment or announced(messages.with_suffix(".announced"))
    with messages.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        try:
            address = f"http://127.0.0.1:{port}/"
            wait_for(lambda: process.poll() is not None or _answers(address), "TensorBoard's page", 120)
            if process.poll() is not None:
                raise RuntimeError(f"tensorboard ended with {process.returncode}: {messages.read_text()[-2000:]}")
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address + "data/runs", timeout=5) as answer:
            return answer.read().strip() not in (b"", b"[]")
    except (urllib.error.URLError, OSError):
        return False


def answer(address: str, route: str, **arguments: str) -> Any:
    """What the server says under `data/`, from JSON."""
    query = urllib.parse.urlencode(arguments)
    with urllib.request.urlopen(f"{address}data/{route}?{query}", timeout=20) as told:
        return json.load(told)


@contextlib.contextmanager
def opened(profile: Path, *, width: int = 1400, height: int = 1000, scale: float = 1) -> Iterator[Any]:
    """A headless browser with a fresh profile, window in CSS pixels."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser_program() or ""
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.add_argument(f"--force-device-scale-factor={scale}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def elements(driver: Any, selector: str) -> list[Any]:
    """All elements of the page that a CSS selector takes, those inside of web components too."""
    return driver.execute_script(_IN_EVERY_SHADOW, selector)


def show_time_series(driver: Any, address: str, tags: str) -> None:
    """Opens the page's first tab on the tags that a regex takes: unsmoothed, without side panes and tables."""
    settings = {
        "scalarSmoothing": 0,
        "ignoreOutliers": False,
        "timeSeriesSettingsPaneOpened": False,
        "stepSelectorEnabled": False,
        "sideBarWidthInPercent": 13,
    }
    driver.get(address)
    driver.execute_script("localStorage.setItem('_tb_global_settings', arguments[0])", json.dumps(settings))
    driver.get(f"{address}?tagFilter={urllib.parse.quote(tags)}&smoothing=0#timeseries")
    driver.refresh()  # the page reads its settings when it is loaded, and an address behind `#` loads nothing


def show_compression(driver: Any, address: str, *, theme: str = "light", frame_width: int | None = None) -> None:
    """Opens our own page, and enters its frame; that is made narrower where a width in CSS pixels is given."""
    driver.get(address)
    driver.execute_script("localStorage.setItem('_tb_global_settings', arguments[0])", json.dumps({"theme": theme}))
    driver.get(f"{address}#segopt")
    driver.refresh()
    frames = wait_for(lambda: elements(driver, "iframe"), "the plugin's frame")
    if frame_width:
        driver.execute_script("arguments[0].style.width = `${arguments[1]}px`", frames[0], frame_width)
    driver.switch_to.frame(frames[0])
    wait_for(lambda: driver.find_elements("css selector", "main .run [role=option]"), "the heat map")


def is_drawn(driver: Any) -> bool:
    """Whether there are cards, and every picture in view has arrived."""
    script = "return arguments[0].every(one => one.complete && one.naturalWidth > 0)"
    return bool(elements(driver, "line-chart, image-card")) and driver.execute_script(script, elements(driver, "img"))
