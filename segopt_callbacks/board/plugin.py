"""The plugin: routes, and what each answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from segopt_callbacks.board.reading import Reading
from segopt_callbacks.records import board

_TYPES = {"js": "text/javascript", "css": "text/css"}
# Each is a route of its own. No path is ever made from a request, so that none can lead elsewhere.
FILES = (
    "axis.js",
    "curve.js",
    "dom.js",
    "files.js",
    "heat_map.js",
    "histogram.js",
    "index.js",
    "run.js",
    "server.js",
    "style.css",
    "theme.js",
    "weight.js",
)


class BoardPlugin(base_plugin.TBPlugin):
    """Heat map of layers and steps, one layer in detail, files: of each run that `CompressionSummaries` has written.

    Args:
        context: what TensorBoard gives to a plugin.
    """

    plugin_name = board.PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._provider = context.data_provider

    def get_plugin_apps(self) -> dict[str, Callable[..., Any]]:
        """Route -> application, below `/data/plugin/segopt`."""
        files = {f"/{name}": functools.partial(_answer, functools.partial(_file, name)) for name in FILES}
        return {
            **files,
            "/runs": functools.partial(_answer, self._runs),
            "/run": functools.partial(_answer, self._run),
            "/weight": functools.partial(_answer, self._weight),
            "/mask": functools.partial(_answer, self._mask),
        }

    def is_active(self) -> bool:
        """Left to TensorBoard, which looks for data of the plugin's name."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab, and the module that draws the page. It asks for new data by itself."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Compression", disable_reload=True)

    def _reading(self, request: wrappers.Request) -> Reading:
        environment = request.environ
        return Reading(self._provider, plugin_util.context(environment), plugin_util.experiment_id(environment))

    def _runs(self, request: wrappers.Request) -> wrappers.Response:
        return _json(request, {"runs": self._reading(request).runs()})

    def _run(self, request: wrappers.Request) -> wrappers.Response:
        return _json(request, self._reading(request).run(_argument(request, "run")))

    def _weight(self, request: wrappers.Request) -> wrappers.Response:
        run, path = _argument(request, "run"), _argument(request, "path")
        return _json(request, self._reading(request).weight(run, path))

    def _mask(self, request: wrappers.Request) -> wrappers.Response:
        run, path = _argument(request, "run"), _argument(request, "path")
        return http_util.Respond(request, self._reading(request).mask(run, path), "image/png")


def _answer(serve: Callable[[wrappers.Request], wrappers.Response], environment: Any, start_response: Any) -> Any:
    """A WSGI application; TensorBoard makes an answer of the errors that it knows."""
    request = wrappers.Request(environment)
    if request.method not in ("GET", "HEAD"):
        response = http_util.Respond(request, "`GET` is all that is served here.", "text/plain", code=405)
        return response(environment, start_response)
    return serve(request)(environment, start_response)


def _json(request: wrappers.Request, content: Mapping[str, Any]) -> wrappers.Response:
    return http_util.Respond(request, content, "application/json")


def _file(name: str, request: wrappers.Request) -> wrappers.Response:
    content = (resources.files("segopt_callbacks.board") / "static" / name).read_bytes()
    return http_util.Respond(request, content, _TYPES[name.rpartition(".")[2]])


def _argument(request: wrappers.Request, name: str) -> str:
    value = request.args.get(name)
    if value is None:
        raise errors.InvalidArgumentError(f"`{name}` must be given. Received: {request.full_path.rstrip('?')!r}.")
    return value
