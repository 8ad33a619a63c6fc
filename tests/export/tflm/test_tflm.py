"""Files for tflite-micro, run by its own interpreter, and by LiteRT's, which we have not written either."""

import re

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tflite_micro import runtime

from segopt_callbacks import export_model, read_metadata
from segopt_callbacks.compat import keras
from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.litert import encoding, flatbuffer, schema
from segopt_callbacks.export.source import Source
from segopt_callbacks.export.tflm import interpreter, raw_bytes, tables
from segopt_callbacks.records import Port
from tests.export.small_models import BYTES, FLOATS, WAYS, every_way

FORMATS = ("int8", "tflm_int8", "tflm_lut", "ethos_u")
TOLERANCE = 0.03  # of the largest answer: three layers of 8 bits


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    model, inputs = every_way()
    data = tf.data.Dataset.from_tensor_slices((tuple(inputs), np.zeros(len(BYTES)))).batch(2)
    report = export_model(model, folder, FORMATS, evaluation_data=data, latency=False, verbose=0)
    return folder, report["formats"], np.asarray(model(inputs))


def fed(content):
    """The first example as the file's inputs take it, by what it tells of its tensors, in its own order."""
    model = schema.unpack(content)
    graph = model.subgraphs[0]
    names = {one.tensorIndex: schema.text(one.name) for one in model.signatureDefs[0].inputs}
    values = []
    for index in graph.inputs:
        if names[index] == "floats":
            quantization = graph.tensors[index].quantization
            codes = np.round(FLOATS[:1] / quantization.scale[0]) + quantization.zeroPoint[0]
            values.append(np.clip(codes, -128, 127).astype(np.int8))
        else:
            values.append((BYTES[:1].astype(int) - 128).astype(np.int8))
    return values


def run_micro(content, arena_size=10_000_000):
    opened = runtime.Interpreter.from_bytes(content, arena_size=arena_size)
    for place, value in enumerate(fed(content)):
        opened.set_input(value, place)
    opened.invoke()
    return opened.get_output(0).copy(), opened.get_output_details(0)["quantization_parameters"]


def test_tflite_micro_answers_as_the_model_does(exported):
    folder, entries, expected = exported
    answer, parameters = run_micro((folder / "tflm_int8.tflite").read_bytes())
    floats = (answer.astype(np.float32) - parameters["zero_points"][0]) * parameters["scales"][0]
    assert np.abs(floats - expected[:1]).max() <= TOLERANCE * np.abs(expected).max()
    assert entries["tflm_int8"]["relative_difference"] <= TOLERANCE


def test_inputs_and_outputs_are_int8_and_no_weight_is_sparse(exported):
    model = schema.read(exported[0] / "tflm_int8.tflite")
    graph = model.subgraphs[0]
    assert {schema.type_name(graph.tensors[one]) for one in [*graph.inputs, *graph.outputs]} == {"INT8"}
    assert "DENSIFY" not in {schema.operator_name(model, one) for one in graph.operators}
    told = {one["name"]: one for one in read_metadata(exported[0] / "tflm_int8.tflite")["inputs"]}
    names = {one.tensorIndex: schema.text(one.name) for one in model.signatureDefs[0].inputs}
    assert list(told) == [*WAYS, "floats"] == [names[index] for index in graph.inputs]
    assert all(told[name]["offset"] == -128 for name in WAYS)
    assert "offset" not in told["floats"]


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("fraction", r"byte - 128, which stands for \S+ \* byte \+0$"),
        ("centred", r"byte - 128, which stands for 0\.00784\d* \* byte -1$"),
        ("channels", "for all channels stays in the file: "),
        ("table", "scaling is more than a factor and an offset, and stays in the file: CAST, GATHER$"),
    ],
)
def test_the_report_tells_what_became_of_scaling(exported, way, told):
    for name in ("tflm_int8", "tflm_lut", "ethos_u"):
        assert re.search(told, exported[1][name]["notes"][f"input {way}"])


def test_the_arena_of_the_report_is_enough_and_not_much_less_is(exported):
    folder, entries, _ = exported
    content, needed = (folder / "tflm_int8.tflite").read_bytes(), entries["tflm_int8"]["notes"]["arena_bytes"]
    run_micro(content, needed + 1024)
    with pytest.raises(RuntimeError):
        run_micro(content, int(0.9 * needed))


def test_tables_decode_to_the_very_same_answers(exported):
    folder, entries, _ = exported
    plain, packed = ((folder / f"{name}.tflite").read_bytes() for name in ("tflm_int8", "tflm_lut"))
    np.testing.assert_array_equal(run_micro(packed)[0], run_micro(plain)[0])
    assert len(packed) < 0.75 * len(plain)
    ours = {one.name: one.values for one in flatbuffer.stored_weights(tables.without_tables(packed))}
    for one in flatbuffer.stored_weights(plain):
        (values,) = (value for name, value in ours.items() if name.removesuffix("_decoded") == one.name)
        np.testing.assert_array_equal(values, one.values)
    counts = [(row["zeros"], row["distinct"]) for row in entries["tflm_int8"]["weights"]]
    assert [(row["zeros"], row["distinct"]) for row in entries["tflm_lut"]["weights"]] == counts


def test_weights_of_many_values_take_no_table():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(16, 3)])
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    with pytest.raises(FormatError, match="cluster weights, or export 'tflm_int8'"):
        tables.with_tables(content)


def test_what_refuses_sparse_files_does_and_takes_dense_ones(exported, tmp_path):
    """What the notes of a sparse file say of tflite-micro."""
    path = tmp_path / "sparse.tflite"
    path.write_bytes(encoding.sparse_file(exported[0] / "tflm_int8.tflite"))
    with pytest.raises(FormatError, match="tflite-micro refuses the file: .*DENSIFY"):
        interpreter.load(path, exported_source(exported), None)


def exported_source(exported):
    told = read_metadata(exported[0] / "tflm_int8.tflite")
    ports = [tuple(Port(one["name"], (), "int8") for one in told[key]) for key in ("inputs", "outputs")]
    return Source(exported[0], *ports)


# --- folding, every byte -------------------------------------------------------------------------------------------


def scaled_bytes(factor, offset, *, scale, zero_point):
    """A file: 256 raw bytes -> QUANTIZE, MUL, ADD -> int8 of a scale and zero point, which MAX_POOL_2D hands on."""
    s = schema.schema
    model = s.ModelT(version=3, buffers=[s.BufferT()], operatorCodes=[], subgraphs=[])
    graph = s.SubGraphT(tensors=[], operators=[], inputs=[0], outputs=[])
    model.subgraphs.append(graph)

    def tensor(kind, name, scale, zero_point):
        made = s.TensorT(shape=[1, 16, 16, 1], type=schema.type_number(kind), name=name, buffer=0, hasRank=True)
        made.quantization = s.QuantizationParametersT(scale=[scale], zeroPoint=[zero_point])
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def constant(number):
        index = schema.add_constant(model, graph, np.array([127 if number > 0 else -127], np.int8), "INT8", "number")
        graph.tensors[index].quantization = s.QuantizationParametersT(scale=[abs(number) / 127], zeroPoint=[0])
        return index

    raw, first = tensor("UINT8", "raw", 1.0, 0), tensor("INT8", "first", 1.0, -128)
    ends = sorted((0.0, 255 * factor))
    step = (ends[1] - ends[0]) / 255
    product = tensor("INT8", "product", step, round(-128 - ends[0] / step))
    last, pooled = tensor("INT8", "sum", scale, zero_point), tensor("INT8", "pooled", scale, zero_point)
    graph.outputs = [pooled]
    graph.operators.append(schema.operator(model, "QUANTIZE", [raw], [first]))
    multiply = schema.operator(model, "MUL", [first, constant(factor)], [product])
    multiply.builtinOptionsType, multiply.builtinOptions = s.BuiltinOptions.MulOptions, s.MulOptionsT()
    pool = schema.operator(model, "MAX_POOL_2D", [last], [pooled])
    pool.builtinOptionsType = s.BuiltinOptions.Pool2DOptions
    pool.builtinOptions = s.Pool2DOptionsT(strideW=1, strideH=1, filterWidth=1, filterHeight=1)
    graph.operators += [multiply, schema.addition(model, [product, constant(offset)], [last]), pool]
    ports = ("raw", raw), ("pooled", pooled)
    signature = s.SignatureDefT(signatureKey="serving_default", subgraphIndex=0)
    signature.inputs, signature.outputs = ([s.TensorMapT(name=name, tensorIndex=one)] for name, one in ports)
    model.signatureDefs = [signature]
    return schema.pack(model)


def answers(content, values):
    run = Interpreter(model_content=content)
    run.allocate_tensors()
    run.set_tensor(run.get_input_details()[0]["index"], values.reshape(1, 16, 16, 1))
    run.invoke()
    detail = run.get_output_details()[0]
    scale, zero_point = detail["quantization"]
    return scale * (run.get_tensor(detail["index"]).ravel().astype(float) - zero_point)


EVERY_BYTE = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize(
    ("factor", "offset", "scale", "zero_point", "left"),
    [
        (1 / 255, -0.5, 1 / 255, 0, ["MAX_POOL_2D"]),  # the bytes are the answer
        (1 / 127.5, -1.0, 2 / 255, 0, ["MAX_POOL_2D"]),
        (1 / 255, -0.5, 1 / 200, 10, ["QUANTIZE", "MAX_POOL_2D"]),  # another scale is wanted
        (1 / 255, 1.0, 2 / 255, -128, ["QUANTIZE", "MUL", "ADD", "MAX_POOL_2D"]),  # 1 is before the first byte
        (-1 / 255, 1.0, 1 / 255, -128, ["QUANTIZE", "MUL", "ADD", "MAX_POOL_2D"]),  # no scale is below 0
    ],
)
def test_folded_bytes_mean_what_the_operations_made_of_them(factor, offset, scale, zero_point, left):
    before = scaled_bytes(factor, offset, scale=scale, zero_point=zero_point)
    after, told = raw_bytes.take_int8(before)
    model = schema.unpack(after)
    assert [schema.operator_name(model, one) for one in model.subgraphs[0].operators] == left
    assert set(told) == {"raw"}
    shifted = answers(after, (EVERY_BYTE.astype(int) - 128).astype(np.int8))
    codes = np.clip(np.round((factor * EVERY_BYTE + offset) / scale), -128 - zero_point, 127 - zero_point)
    assert np.abs(shifted - scale * codes).max() <= 1.01 * scale
    # Operations round once each, and what is folded rounds once.
    assert np.abs(shifted - answers(before, EVERY_BYTE)).max() <= 2.01 * scale


def test_an_operation_on_raw_bytes_is_named():
    model = schema.unpack(scaled_bytes(1 / 255, -0.5, scale=1 / 255, zero_point=0))
    model.subgraphs[0].operators[0].opcodeIndex = schema.operator_code(model, "RESHAPE")
    with pytest.raises(FormatError, match="raw bytes are read by RESHAPE"):
        raw_bytes.take_int8(schema.pack(model))


def test_a_file_without_raw_bytes_stays_as_it_is(exported):
    content = (exported[0] / "tflm_int8.tflite").read_bytes()
    assert raw_bytes.take_int8(content) == (content, {})
