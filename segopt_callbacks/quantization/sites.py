"""A model's operations -> where an integer file rounds: which tensors have a range, and which operations it lacks.

The model is traced for inference once. Every operation is seen, those of layers, of custom layers, and raw ones in a
subclassed `call` alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from segopt_callbacks import compat
from segopt_callbacks.quantization.operations import (
    ADDS,
    AFFINE,
    BEGINS,
    CALLS,
    CLIPS,
    COMPOSITE,
    FIXED,
    KERNELS,
    RANGED,
    SAME_RANGE,
    SHAPES,
    SOFTMAXES,
)
from segopt_callbacks.quantization.singular import SINGULAR
from segopt_callbacks.quantization.tracing import Made, Trace, given_tensors

_OF_BATCH_NORM = "/batchnorm"  # the scope of `tf.nn.batch_normalization`


@dataclass(frozen=True)
class Sites:
    """Where an integer file rounds what a model computes.

    Attributes:
        activations: names of the tensors that have a range, in the order in which they are computed.
        fixed: of some of them, the range that the file gives them: name -> lowest, highest value.
        kernels: names of tensors that are kernels -> path of the variable they are made of, `None` where of several.
        whole: path of a variable that is a kernel as it stands, and nowhere else another -> kind of what reads it.
        constants: pairs of names: a tensor, and what it is added to or multiplied by in 8 bits, if that is computed
            from weights alone. Such as scale and shift of a normalisation that no convolution takes in.
        unknown: operations on floats that have no integer form here, as `name (kind)`.
        behind: tensors that a singular operation reads -> the tensor whose range they have.
        singular: what such operations give -> their kind, and for each input the tensor whose range it has, the largest
            magnitude of a constant, or `None`.
        logits: tensors that nothing but a softmax reads.
        terms: what is added to give logits, or taken from them -> the other term.
        prepared: tensors that no kernel stands before: inputs, and what scales them.
        answers: tensors whose range is that of an output.
    """

    activations: tuple[str, ...]
    fixed: Mapping[str, tuple[float, float]]
    kernels: Mapping[str, str | None]
    whole: Mapping[str, str]
    constants: frozenset[tuple[str, str]]
    unknown: tuple[str, ...]
    behind: Mapping[str, str]
    singular: Mapping[str, tuple[str, tuple[str | float | None, ...]]]
    logits: frozenset[str]
    terms: Mapping[str, str]
    prepared: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()

    @property
    def split_normalizations(self) -> bool:
        """Whether the file rounds within a BatchNormalization, or behind one; not where a kernel takes it in."""
        names = {*self.activations, *itertools.chain.from_iterable(self.constants)}
        return any(_OF_BATCH_NORM in f"/{name}" for name in names)


def find_sites(model: Any, inputs: Any) -> Sites:
    """Traces a model for inference and finds where an integer file rounds.

    Args:
        model: a built Keras model.
        inputs: structure of `tf.TensorSpec`, batch first.

    Returns:
        the sites.

    Raises:
        ValueError: if the model cannot be traced.

    Example:
        >>> from segopt_callbacks.compat import keras
        >>> layers = [keras.layers.Conv2D(4, 3, name="a"), keras.layers.ReLU(name="b"), keras.layers.Dense(2, name="c")]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> len(find_sites(model, tf.TensorSpec((None, 8, 8, 3))).activations)
        3
    """
    traces: list[Trace] = []
    outputs: list[tf.Tensor] = []

    variables = {id(compat.handle_of(one)): compat.variable_path(one) for one in model.variables}

    def watched(call: Any, *arguments: Any, **options: Any) -> Any:
        traces.append(Trace(given_tensors(arguments, options), variables))
        with compat.watched_operations(traces[-1]):
            answer = call(*arguments, **options)
        outputs.extend(tf.nest.flatten(answer))
        return answer

    def convolve(convolution: Any, images: Any, kernel: Any) -> Any:
        return convolution(images, traces[-1].kernel(kernel, "Conv2D"))

    undos = [compat.around_call(model, watched), compat.unfuse(model)]
    undos += [compat.around_method(*one, convolve) for one in compat.functions_of_their_own(model).items()]
    try:
        with compat.float32_compute(model), compat.integer_forms():  # as it will be exported
            compat.inference_graph(model, inputs)
    finally:
        for undo in undos:
            undo()
    (trace,) = traces
    return _sites(trace, {trace.names.of(tensor) for tensor in outputs})


def _sites(trace: Trace, outputs: set[str]) -> Sites:
    floats = {name: made for name, made in trace.made.items() if made.output.dtype.is_floating}
    ranged = [name for name, tensor in trace.inputs.items() if tensor.dtype.is_floating]
    fixed, unknown = {}, []
    for name, made in floats.items():
        if made.kind in SAME_RANGE or _is_inside_composite(made):
            continue
        if not _has_integer_form(made):
            unknown.append(f"{name} ({made.kind})")
        if name in outputs or not _is_absorbed(made, trace):
            ranged.append(name)
            if made.kind in FIXED:
                fixed[name] = FIXED[made.kind]
    constants = [pair for pair in trace.operands if not (pair[0] in floats and _is_absorbed(floats[pair[0]], trace))]
    logits = {name for name in ranged if name not in outputs and _is_read_by_softmax(trace.made.get(name))}
    singular = {name: made for name, made in floats.items() if made.kind in SINGULAR}
    behind = _behind({name for made in singular.values() for name in made.inputs if name}, trace, set(ranged))
    given = {name: (made.kind, tuple(_given(made, behind))) for name, made in singular.items() if name in ranged}
    return Sites(
        activations=tuple(ranged),
        fixed=fixed,
        kernels=trace.kernels,
        whole={path: next(iter(kinds)) for path, kinds in trace.whole.items() if len(kinds) == 1 and all(kinds)},
        constants=frozenset(constants),
        unknown=tuple(unknown),
        behind=behind,
        singular=given,
        logits=frozenset(logits),
        terms=_terms([trace.made[name] for name in logits if name in trace.made], set(ranged)),
        prepared=frozenset(_prepared(trace)),
        answers=frozenset(_behind(outputs, trace, set(ranged)).values()),
    )


def _prepared(trace: Trace) -> set[str]:
    """What is made of the inputs without any kernel; operations come in the order in which they were traced."""
    found = set(trace.inputs)
    for name, made in trace.made.items():
        read = {one for one in made.inputs if one is not None}
        if read and read <= found and made.kind not in KERNELS.keys() | CALLS:
            found.add(name)
    return found


def _behind(names: Iterable[str], trace: Trace, ranged: set[str]) -> dict[str, str]:
    """Each tensor -> itself, or what it is a view of, where that has a range."""
    found = {}
    for read in names:
        name: str | None = read
        while name is not None and name not in ranged:
            made = trace.made.get(name)
            name = next(filter(None, made.inputs), None) if made and made.kind in SAME_RANGE else None
        if name is not None:
            found[read] = name
    return found


def _given(made: Made, behind: Mapping[str, str]) -> Iterator[str | float | None]:
    for place, (name, tensor) in enumerate(zip(made.inputs, made.output.op.inputs, strict=True)):
        value = tf.get_static_value(tensor) if name is None else None
        is_singular = place == SINGULAR[made.kind][1]
        yield behind.get(name) if name is not None else None if value is None else _magnitude(value, least=is_singular)


def _magnitude(value: np.ndarray, *, least: bool) -> float:
    """The largest of a constant, or the least but zero: a constant divides by what it is, not by a step."""
    magnitudes = np.abs(value)
    return float(magnitudes[magnitudes > 0].min(initial=np.inf) if least else magnitudes.max())


def _is_read_by_softmax(made: Made | None) -> bool:
    return made is not None and bool(made.readers) and all(one.kind in SOFTMAXES for one in made.readers)


def _terms(logits: Iterable[Made], ranged: set[str]) -> dict[str, str]:
    sums = [made.inputs for made in logits if made.kind in {"Add", "AddV2", "Sub"}]
    pairs = [(one, other) for one, other in sums if one in ranged and other in ranged]
    return {**{one: other for one, other in pairs}, **{other: one for one, other in pairs}}


def _has_integer_form(made: Made) -> bool:
    if made.kind in CALLS:  # a function of its own, into which nobody looks, is known if it is a convolution
        kinds = compat.function_kinds(made.output.op) & RANGED
        return bool(kinds) and kinds <= KERNELS.keys()
    return made.kind in RANGED or COMPOSITE.match(made.name) is not None


def _is_inside_composite(made: Made) -> bool:
    scope = COMPOSITE.match(made.name)
    return scope is not None and bool(made.readers) and all(one.name.startswith(scope[0]) for one in made.readers)


def _is_absorbed(made: Made, trace: Trace) -> bool:
    """Whether the one operation that reads this tensor is the same operation in the file."""
    readers = made.readers
    while len(readers) == 1 and readers[0].kind in SHAPES:
        readers = readers[0].readers
    if len(readers) != 1:
        return False
    reader = readers[0]
    from_input = [name for name in reader.inputs if name is not None]
    if reader.kind == "RealDiv" and reader.inputs[0] is None:  # what divides a constant is an operation of its own
        return False
    if reader.kind in AFFINE and len(from_input) == 1:  # its other argument is constant
        return _begins_with_kernel(made, trace, biased=reader.kind == "BiasAdd")
    return reader.kind in CLIPS and (made.kind in ADDS or _begins_with_kernel(made, trace, biased=True))


def _begins_with_kernel(made: Made | None, trace: Trace, *, biased: bool) -> bool:
    """Whether a tensor is a convolution's, or what constants of each channel have made of it."""
    while made is not None:
        from_input = [name for name in made.inputs if name is not None]
        if made.kind in CALLS:
            return True
        if made.kind in BEGINS:
            return len(from_input) == 1  # a product of two tensors (attention) takes nothing in
        if made.kind == "Conv2DBackpropInput":
            return biased  # LiteRT's transposed convolution adds a bias, and folds nothing else
        if made.kind not in AFFINE | SHAPES or len(from_input) != 1 or len(made.readers) > 1:
            return False
        biased = biased and made.kind in {"BiasAdd", *SHAPES}
        made = trace.made.get(from_input[0])
    return False
