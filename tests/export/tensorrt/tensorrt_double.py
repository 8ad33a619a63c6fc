"""Stands in for `tensorrt` and `cuda-python` where there is no GPU: their calls, computed by ONNX Runtime.

It shows that the calls of `tensorrt_engine` fit together, and nothing of TensorRT itself.
"""

import ctypes
import types

import numpy as np
import onnxruntime

DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class Logger:
    ERROR = 1

    def __init__(self, severity):
        pass


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class TensorIOMode:
    INPUT, OUTPUT = 1, 2


class Builder:
    def __init__(self, logger):
        pass

    def create_network(self, flags):
        assert flags == 2
        return types.SimpleNamespace(content=None)

    def create_builder_config(self):
        return object()

    def build_serialized_network(self, network, config):
        return memoryview(network.content)


class OnnxParser:
    num_errors = 1

    def __init__(self, network, logger):
        self.network = network

    def parse(self, content):
        self.network.content = content
        return content.startswith(b"\x08")

    def get_error(self, index):
        return "node 3: unsupported"


class Engine:
    """An engine, and its own context."""

    factor = 1.0  # of every answer

    def __init__(self, plan):
        self.session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
        self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.infos = {one.name: one for one in [*self.inputs, *self.outputs]}
        self.num_io_tensors = len(self.infos)
        self.addresses = {}

    def create_execution_context(self):
        return self

    def get_tensor_name(self, index):
        return list(self.infos)[index]

    def get_tensor_dtype(self, name):
        return self.infos[name].type

    def get_tensor_shape(self, name):
        return self.infos[name].shape

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in [one.name for one in self.inputs] else TensorIOMode.OUTPUT

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        values = {one.name: self._at(one) for one in self.inputs}
        for one, answer in zip(self.outputs, self.session.run(None, values), strict=True):
            self._at(one)[...] = answer * self.factor
        return True

    def _at(self, info):
        dtype = np.dtype(nptype(info.type))
        size = int(np.prod(info.shape)) * dtype.itemsize
        memory = (ctypes.c_byte * size).from_address(self.addresses[info.name])
        return np.frombuffer(memory, dtype).reshape(info.shape)


class Runtime:
    def __init__(self, logger):
        pass

    def deserialize_cuda_engine(self, plan):
        return Engine(plan)


def nptype(dtype):
    return DTYPES[dtype]


# --- cuda.bindings.runtime -------------------------------------------------------------------------------------------

_memory = []


def _allocate(size):
    _memory.append(ctypes.create_string_buffer(size))
    return 0, ctypes.addressof(_memory[-1])


def _copy(target, source, size, kind):
    ctypes.memmove(target, source, size)
    return (0,)


CUDA = types.SimpleNamespace(
    cudaMemcpyKind=types.SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
    cudaGetDeviceCount=lambda: (0, 1),
    cudaMalloc=_allocate,
    cudaMemcpy=_copy,
    cudaStreamCreate=lambda: (0, 7),
    cudaStreamSynchronize=lambda stream: (0,),
)
