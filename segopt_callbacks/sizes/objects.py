"""What a SavedModel says of the objects in it, and which operations its graphs use; read without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segopt_callbacks.sizes.protobuf import children
from segopt_callbacks.sizes.readers import mapped


@dataclass(frozen=True)
class SavedObjects:
    """What is in a `saved_model.pb` or a `keras_metadata.pb`.

    Attributes:
        metadata: what Keras has written about its layers, JSON.
        operations: types of the operations of all graphs.
    """

    metadata: list[bytes]
    operations: set[bytes]


def read_saved_model_objects(path: Path) -> SavedObjects:
    """Reads one of the two files.

    Raises:
        CorruptFileError: if it is not what its name says.
    """
    data = mapped(path)
    if path.name == "keras_metadata.pb":
        return SavedObjects([bytes(one) for one in children(data, 1, 5)], set())  # nodes.metadata
    # meta_graphs.object_graph_def.nodes.user_object.metadata, where Keras wrote it until TensorFlow 2.4
    metadata = [bytes(one) for one in children(data, 2, 7, 1, 4, 3) if one]
    operations: set[bytes] = set()
    for way in ((2, 2, 1, 2), (2, 2, 2, 1, 3, 2)):  # op of graph_def.node, and of graph_def.library.function.node_def
        operations.update(bytes(one) for one in children(data, *way))
    return SavedObjects(metadata, operations)
