"""Reads an OpenVINO model (`model.xml` and `model.bin`) itself, without its runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from segopt_callbacks.errors import FormatError, first_line

DTYPES = {"f32": "<f4", "f16": "<f2", "f64": "<f8", "i8": "i1", "u8": "u1", "i32": "<i4", "i64": "<i8"}


@dataclass(frozen=True, eq=False)
class Layer:
    """An operation.

    Attributes:
        graph: what it is part of.
        id: within its graph.
        name: in the file.
        kind: such as `Convolution`.
        data: its attributes, as text.
        shapes: of its inputs, in order; an open size is -1.
    """

    graph: Graph = field(repr=False)
    id: str
    name: str
    kind: str
    data: dict[str, str]
    shapes: tuple[tuple[int, ...], ...]

    def source(self, index: int) -> Layer | None:
        """What computes its input `index`; `None` where it has none."""
        return self.graph.layers.get(self.graph.edges.get((self.id, str(index)), ""))

    @property
    def sources(self) -> list[Layer]:
        """What computes its inputs, in order."""
        found = (self.source(index) for index in range(len(self.shapes)))
        return [source for source in found if source is not None]


@dataclass(frozen=True, eq=False)
class Graph:
    """A model, or the body of a loop within one.

    Attributes:
        layers: id -> layer.
        edges: (id, number of an input) -> id of what computes it.
    """

    layers: dict[str, Layer]
    edges: dict[tuple[str, str], str]


class Model:
    """A model on disk.

    Args:
        folder: holds `model.xml` and `model.bin`.

    Raises:
        FormatError: if they are not what OpenVINO writes.
    """

    def __init__(self, folder: Path) -> None:
        root = _parse((folder / "model.xml").read_bytes())
        self._content = (folder / "model.bin").read_bytes()
        self.graphs = [_graph(net) for net in [root, *root.iter("body")]]

    def layers(self) -> Iterator[Layer]:
        """Every operation, those in bodies of loops included."""
        for graph in self.graphs:
            yield from graph.layers.values()

    def constant(self, layer: Layer) -> np.ndarray:
        """The value of a `Const`.

        Raises:
            FormatError: if its dtype is not known here, or it lies outside of the file.
        """
        data = layer.data
        dtype = DTYPES.get(data.get("element_type", ""))
        if dtype is None:
            raise FormatError(f"the constant {layer.name!r} has a dtype that is not known: {data.get('element_type')}")
        try:
            shape = tuple(int(size) for size in data["shape"].split(",") if size.strip())
            offset, size = int(data["offset"]), int(data["size"])
            needed = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
            if offset < 0 or min(shape, default=0) < 0 or size != needed or offset + size > len(self._content):
                raise ValueError(f"{size} bytes at {offset} of {len(self._content)} for shape {shape}")
            return np.frombuffer(self._content, dtype, size // np.dtype(dtype).itemsize, offset).reshape(shape)
        except (KeyError, ValueError) as error:
            raise FormatError(f"the constant {layer.name!r} is not in `model.bin`: {first_line(error)}") from error


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, *declaration: object) -> None:
        """Refuses it: a few lines of entities can expand to gigabytes, and OpenVINO declares none."""
        raise FormatError("`model.xml` declares a document type, which OpenVINO does not write; it is not read")


def _parse(content: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise FormatError(f"`model.xml` cannot be read: {first_line(error)}") from error


def _graph(net: ElementTree.Element) -> Graph:
    edges = {
        (edge.get("to-layer", ""), edge.get("to-port", "")): edge.get("from-layer", "")
        for edge in net.iterfind("edges/edge")
    }
    graph = Graph({}, edges)
    for element in net.iterfind("layers/layer"):
        layer = Layer(
            graph,
            element.get("id", ""),
            element.get("name", ""),
            element.get("type", ""),
            dict(data.attrib) if (data := element.find("data")) is not None else {},
            tuple(map(_shape, element.iterfind("input/port"))),
        )
        graph.layers[layer.id] = layer
    return graph


def _shape(port: ElementTree.Element) -> tuple[int, ...]:
    try:
        return tuple(int(dim.text or "") for dim in port.iterfind("dim"))
    except ValueError as error:
        raise FormatError(f"`model.xml` cannot be read: {first_line(error)}") from error
