"""What the page shows, read through TensorBoard's data provider."""

from __future__ import annotations

from typing import Any

from tensorboard import errors
from tensorboard.data.provider import RunTagFilter

from segopt_callbacks.board.columns import aligned, thinned
from segopt_callbacks.records import board

_MOST_COLUMNS = 400  # of a heat map; a screen shows no more
_MOST_SAMPLES = 1000  # of a series; TensorBoard keeps no more by default


class Reading:
    """One request's view of the log directory.

    Args:
        provider: TensorBoard's data provider.
        context: of the request.
        experiment: its id.
    """

    def __init__(self, provider: Any, context: Any, experiment: str) -> None:
        self._provider = provider
        self._common = {"ctx": context, "experiment_id": experiment}

    def runs(self) -> list[dict[str, Any]]:
        """Each run with a record of weights, the one that was written last first.

        Returns:
            `run`, the `name` that is shown, `step` and `wall_time` (seconds since 1970) of the last write, and whether
            the fit `is_finished`.
        """
        listed = self._provider.list_tensors(**self._common, plugin_name=board.PLUGIN_NAME)
        runs = [_run(run, tags) for run, tags in listed.items() if board.WEIGHTS_TAG in tags]
        return sorted(runs, key=lambda one: (-one["wall_time"], one["run"]))

    def run(self, run: str) -> dict[str, Any]:
        """All that the page shows of a run at first.

        Args:
            run: its name in TensorBoard.

        Returns:
            what `runs` tells of it. `steps`, and at each `sparsity` and `target` (`None` where there was none yet).
            `weights`: of each `path`, `shape`, `low`, `high`, `distinct`, and `sparsity` and `target` at each step. Of
            clustered ones `values` and `error`, too. `settings` and `results`.

        Raises:
            NotFoundError: if there is no such run.
        """
        listed = self._provider.list_tensors(
            **self._common, plugin_name=board.PLUGIN_NAME, run_tag_filter=RunTagFilter(runs=[run])
        ).get(run, {})
        if board.WEIGHTS_TAG not in listed:
            raise errors.NotFoundError(f"`run` must be one that CompressionSummaries has written. Received: {run!r}.")
        records = {tag: self._record(run, tag) for tag in listed}
        series = self._scalars(run)
        overall = series.get(f"{board.OVERALL}/sparsity", {})
        steps = thinned(sorted(overall), _MOST_COLUMNS)

        def at_steps(tag: str) -> list[float | None]:
            return aligned(series.get(tag, {}), steps)

        weights = [
            {
                "path": path,
                **record,
                "sparsity": at_steps(f"{board.SPARSITY}/{path}"),
                "target": at_steps(f"{board.TARGET_SPARSITY}/{path}"),
                "distinct": _last(series.get(f"{board.UNIQUE_WEIGHTS}/{path}", {})),
            }
            for path, record in records[board.WEIGHTS_TAG].items()
        ]
        return {
            **_run(run, listed),
            "steps": steps,
            "sparsity": at_steps(f"{board.OVERALL}/sparsity"),
            "target": at_steps(f"{board.OVERALL}/target_sparsity"),
            "weights": weights,
            "settings": records.get(board.SETTINGS_TAG, {}),
            "results": records.get(board.RESULTS_TAG),
        }

    def weight(self, run: str, path: str) -> dict[str, Any]:
        """The last histogram of a weight.

        Args:
            run: its name in TensorBoard.
            path: of the weight.

        Returns:
            `step`, `buckets` (`left, right, count`), and the step `mask_step` of its last picture of a mask, `None`
            where there is none.

        Raises:
            NotFoundError: if there is no such weight.
        """
        tag = f"{board.WEIGHTS}/{path}"
        found = self._provider.read_tensors(**self._common, plugin_name="histograms", **_one(run, tag))
        if not (data := found.get(run, {}).get(tag)):
            raise errors.NotFoundError(f"`path` must be that of a weight of {run!r}. Received: {path!r}.")
        masks = self._masks(run, path)
        return {
            "step": data[-1].step,
            "buckets": [[float(part) for part in bucket] for bucket in data[-1].numpy],
            "mask_step": masks[-1].step if masks else None,
        }

    def mask(self, run: str, path: str) -> bytes:
        """The last picture of a weight's mask, a PNG.

        Raises:
            NotFoundError: if there is none.
        """
        if not (masks := self._masks(run, path)):
            raise errors.NotFoundError(f"`path` must be that of a pruned weight of {run!r}. Received: {path!r}.")
        picture = masks[-1].values[2]  # behind its width and its height
        return self._provider.read_blob(ctx=self._common["ctx"], blob_key=picture.blob_key)

    def _masks(self, run: str, path: str) -> list[Any]:
        tag = f"{board.MASK}/{path}"
        found = self._provider.read_blob_sequences(**self._common, plugin_name="images", **_one(run, tag))
        return list(found.get(run, {}).get(tag, ()))

    def _record(self, run: str, tag: str) -> dict[str, Any]:
        found = self._provider.read_tensors(**self._common, plugin_name=board.PLUGIN_NAME, **_one(run, tag))
        return board.decoded(found[run][tag][-1].numpy.item())

    def _scalars(self, run: str) -> dict[str, dict[int, float]]:
        """Tag -> step -> the value that was written last."""
        found = self._provider.read_scalars(
            **self._common,
            plugin_name="scalars",
            downsample=_MOST_SAMPLES,
            run_tag_filter=RunTagFilter(runs=[run]),
        ).get(run, {})
        return {tag: {datum.step: datum.value for datum in data} for tag, data in found.items()}


def _run(run: str, tags: Any) -> dict[str, Any]:
    written, results = tags[board.WEIGHTS_TAG], tags.get(board.RESULTS_TAG)
    return {
        "run": run,
        "name": run.removesuffix(board.RUN).rstrip("/") or ".",
        "step": written.max_step,
        "wall_time": max(written.max_wall_time, results.max_wall_time if results else 0),
        "is_finished": results is not None and results.max_wall_time >= written.max_wall_time,
    }


def _one(run: str, tag: str) -> dict[str, Any]:
    """Arguments that ask for the last value of one series; TensorBoard always keeps the last of a sample."""
    return {"downsample": 1, "run_tag_filter": RunTagFilter(runs=[run], tags=[tag])}


def _last(series: dict[int, float]) -> float | None:
    return series[max(series)] if series else None
