"""TensorBoard's own formats."""

from __future__ import annotations

from typing import Any


def histogram_metadata() -> Any:
    """What tells TensorBoard that a tensor of `(buckets, 3)`, `left, right, count`, is a histogram."""
    from tensorboard.plugins.histogram import metadata

    return metadata.create_summary_metadata(display_name=None, description=None)


def tensor_metadata(plugin_name: str) -> Any:
    """What tells TensorBoard that a tensor is for the plugin of this name."""
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin_name),
        data_class=summary_pb2.DATA_CLASS_TENSOR,
    )


def scalars_layout(charts: dict[str, dict[str, str]]) -> tuple[str, bytes, Any]:
    """A layout of the page Custom Scalars.

    Args:
        charts: category -> title of a chart -> regex of the tags that are its lines.

    Returns:
        tag, content and metadata of the summary that holds it.
    """
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    categories = [
        layout_pb2.Category(
            title=category,
            chart=[
                layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[tags]))
                for title, tags in titled.items()
            ],
        )
        for category, titled in charts.items()
    ]
    layout = layout_pb2.Layout(category=categories)
    return metadata.CONFIG_SUMMARY_TAG, layout.SerializeToString(), metadata.create_summary_metadata()
