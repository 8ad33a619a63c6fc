"""Calls of functions inside a graph, replaced by what the functions compute."""

from __future__ import annotations

from typing import Any

from segopt_callbacks.compat.graphs import copied_node, definition_of

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_MOST_NODES = 200_000  # of all functions together


def inlined(graph: Any, kinds: frozenset[str]) -> Any | None:
    """The definition of a graph with the functions in it that hold an operation of some kinds, opened.

    Left as calls are functions with other state than variables that are read: they may rely on the order of a call.

    Args:
        graph: of a concrete function.
        kinds: types of operations.

    Returns:
        the definition; `None` where no such function is called.
    """
    calls = {op.name: body for op in graph.get_operations() if (body := _body(op)) is not None}
    if not any(_holds(body, kinds) for body in calls.values()):
        return None
    definition = graph.as_graph_def()
    nodes, renamed = [], {}
    for node in definition.node:
        body = calls.get(node.name)
        if body is None or not _is_pure(body):
            nodes.append(copied_node(node))
            continue
        opened = inlined(body, kinds) or body.as_graph_def()
        given = {one.op.name: outside for one, outside in zip(body.inputs, node.input, strict=False)}
        nodes += _opened(node.name, opened, given)
        for number, one in enumerate(body.outputs):
            outer = given.get(one.op.name)
            inner = outer if outer is not None else f"{node.name}/{one.name}"
            renamed[f"{node.name}:{number}"] = inner
        renamed[node.name] = renamed.get(f"{node.name}:0", "")
    if len(nodes) > _MOST_NODES:
        return None
    library = definition_of(nodes, definition)
    for node in library.node:
        _rename(node, renamed)
    return library


def _body(op: Any) -> Any | None:
    if op.type not in CALLS:
        return None
    function = op.graph._get_function(op.get_attr("f").name)
    return None if function is None else function.graph


def _holds(body: Any, kinds: frozenset[str]) -> bool:
    inner = [found for op in body.get_operations() if (found := _body(op)) is not None]
    has_any = any(op.type in kinds for op in body.get_operations()) or any(_holds(one, kinds) for one in inner)
    return has_any and _is_pure(body)


def _is_pure(body: Any) -> bool:
    return not any(
        op.op_def.is_stateful and op.type not in ("Placeholder", "ReadVariableOp", *CALLS)
        for op in body.get_operations()
    )


def _opened(scope: str, definition: Any, given: dict[str, str]) -> list[Any]:
    """The nodes of a function under the name of its call; its arguments are what the call was given."""
    nodes = []
    for original in definition.node:
        if original.name in given:
            continue
        node = copied_node(original)
        node.name = f"{scope}/{original.name}"
        del node.input[:]
        for one in original.input:
            mark, name = ("^", one[1:]) if one.startswith("^") else ("", one)
            base, _, number = name.partition(":")
            if base in given:
                if not mark:
                    node.input.append(given[base])
            else:
                node.input.append(f"{mark}{scope}/{base}" + (f":{number}" if number else ""))
        nodes.append(node)
    return nodes


def _rename(node: Any, renamed: dict[str, str]) -> None:
    inputs = []
    for one in node.input:
        is_control = one.startswith("^")
        name = one.lstrip("^")
        seen = set()
        while name in renamed and name not in seen:  # what a call returns may be what another one returns
            seen.add(name)
            name = renamed[name]
        if is_control:
            name = "^" + name.partition(":")[0] if name else ""
        if name:
            inputs.append(name)
    controls = [one for one in dict.fromkeys(inputs) if one.startswith("^")]
    data = [one for one in inputs if not one.startswith("^")]
    del node.input[:]
    node.input.extend([*data, *controls])
