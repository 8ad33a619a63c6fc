"""What formats do wrong, in their processes: functions that those can import."""

import contextlib
import os
import pathlib
import signal
import time
from unittest import mock

from segopt_callbacks.errors import FormatError
from segopt_callbacks.export.formats import TARGETS
from segopt_callbacks.export.litert import converter as litert
from segopt_callbacks.export.litert import flatbuffer
from segopt_callbacks.export.onnx import graph as onnx_graph
from segopt_callbacks.export.onnx import int8 as onnx_int8
from segopt_callbacks.export.openvino import converter as openvino

CHANGES = {
    "too_small": lambda content: content[:3000],
    "no_header": lambda content: bytes(100) + content[100:],
    "cut_off": lambda content: content[: len(content) * 3 // 4],
}


def write_damaged(name, change, source, path):
    """Lets the real converter write the file, then damages it before anybody opens it."""
    TARGETS[name].write(source, path)
    path.write_bytes(CHANGES[change](path.read_bytes()))


def write_unshared(name, source, path):
    """With the scales that the converter chooses, and the integers that these give."""
    with mock.patch.object(litert, "share_scales", lambda content, kernels: content):
        TARGETS[name].write(source, path)


def write_nothing_and_raise(source, path):
    raise KeyError("no such operation")


def write_and_die(source, path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGSEGV)


def write_for_ever(source, path):
    time.sleep(1000)


def load_and_meet(path, source, threads):
    """Runs only while another one runs that was loaded so, from the same folder."""
    run = litert.load(path, source, threads)

    def run_once(inputs):
        (path.parent / f"{path.name}.runs").touch()
        deadline = time.monotonic() + 60
        while len(list(path.parent.glob("*.runs"))) < 2:
            if time.monotonic() > deadline:
                raise FormatError("nothing else runs")
            time.sleep(0.01)
        return run(inputs)

    return run_once


def load_and_die_later(path, source, threads):
    run = litert.load(path, source, threads)
    left = iter([1])

    def run_once(inputs):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGSEGV)
        return run(inputs)

    return run_once


def write_openvino_in_float(source, path):
    """What is left if NNCF quantizes nothing."""
    openvino.save(openvino.converted(source), source, path)


def write_openvino_cut_off(source, path):
    openvino.write(source, path)
    (path / "model.bin").write_bytes((path / "model.bin").read_bytes()[:100])


def write_with_a_float_convolution(source, path):
    """The quantizer is told to leave the last convolution alone."""
    from onnxruntime.quantization import QuantType

    graph = onnx_graph.open_graph(onnx_int8.prepared_source(source))
    last = [node.name for node in graph.nodes if node.op_type == "Conv"][-1]
    onnx_int8.quantize(source, path, activations=QuantType.QUInt8, excluded=[last])


def my_process():
    return os.getpid()


def parent():
    return os.getppid()


def niceness(process):
    """Of every thread of a process, by its number."""
    found = []
    for thread in pathlib.Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(int((thread / "stat").read_text().rpartition(")")[2].split()[16]))
    return found


def threads_called(prefix):
    """How many threads of this process have such a name."""
    threads = pathlib.Path("/proc/self/task").iterdir()
    return sum((thread / "comm").read_text().startswith(prefix) for thread in threads)


def end(code):
    print("about to end", flush=True)
    os._exit(code)


def exists(path):
    return pathlib.Path(path).exists()


def load_and_die_of_sparse(path, source, threads):
    if path.suffix == ".sparse":
        os.kill(os.getpid(), signal.SIGSEGV)
    return litert.load(path, source, threads)


def load_sparse_wrongly(path, source, threads):
    run, error = litert.load(path, source, threads), 0.01 if path.suffix == ".sparse" else 0
    return lambda inputs: [answer + error for answer in run(inputs)]


def refuse_sparse(path, source, threads):
    if path.suffix == ".sparse":
        path.write_bytes(CHANGES["no_header"](path.read_bytes()))
    return litert.load(path, source, threads)


def embed_nothing(path, name, source, packages):
    """A file without metadata."""
    return {"versions": {}}


def write_with_refusal(source, path):
    """As if the converter took no ranges."""
    convert = litert.convert

    def refuse(settings, source):
        if source.has_ranges:
            raise FormatError("it will not")
        return convert(settings, source)

    with mock.patch.object(litert, "convert", refuse):
        litert.write(litert.SETTINGS["int8"], source, path)


def write_with_float(source, path):
    """As if an operation of the file with ranges were left in float."""
    with mock.patch.object(flatbuffer, "float_operations_in", return_value=["SIN (x)"]):
        litert.write(litert.SETTINGS["int8"], source, path)


WRITES = {"raises": write_with_refusal, "float": write_with_float}
