"""One function per library: from a family and arrays to a call that is ready to be timed."""

from __future__ import annotations

import importlib.util
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .family import Arrays, Call, Family

PEERS = (
    "numpy", "torch", "torch-channels-last", "torch-compile", "onnxruntime", "openvino", "jax",
)  # fmt: skip
PREPARED = "pyfast packed"  # beside "pyfast"; no peer
PACKAGES = {"torch-channels-last": "torch", "torch-compile": "torch"}


def installed(peer: str) -> bool:
    """Whether the peer's package (and onnx, for the two that read its models) can be imported."""
    needed = [PACKAGES.get(peer, peer)]
    if peer in ("onnxruntime", "openvino"):
        needed.append("onnx")
    return all(importlib.util.find_spec(name) is not None for name in needed)


def limit_threads(threads: int, pin: bool = True) -> None:
    """Give this process `threads` cores, and every library that many threads.

    Must run before JAX is imported: XLA reads its flags once.
    """
    if pin and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    limit_blas(threads)
    flags = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def limit_blas(threads: int) -> None:
    """NumPy's own BLAS, which has chosen its threads when NumPy was imported."""
    if importlib.util.find_spec("threadpoolctl") is not None:
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")


def prepare(
    peer: str, family: Family, arrays: Arrays, params: Mapping[str, Any], threads: int
) -> Call | None:
    """The peer's (or prepared pyfast's) call, or None when it has no such op."""
    if peer == PREPARED:
        return family.prepared(arrays, params) if family.prepared else None
    if peer == "numpy":
        return family.numpy(arrays, params) if family.numpy else None
    if peer == "torch":
        return _torch(family.torch, arrays, params, threads, channels_last=False)
    if peer == "torch-compile":
        return _torch(family.torch_compile, arrays, params, threads, channels_last=False)
    if peer == "torch-channels-last":
        if not family.channels_last:
            return None
        return _torch(family.torch, arrays, params, threads, channels_last=True)
    if peer == "jax":
        return _jax(family, arrays, params)
    if family.module is not None:
        module = family.module(params)
        return None if module is None else _exported(peer, module, arrays, threads)
    if family.onnx is None:
        return None
    model = onnx_model(family, arrays, params)
    feeds = {k: v for k, v in arrays.items() if k not in family.constants}
    if peer == "onnxruntime":
        return _onnxruntime(model, feeds, threads)
    return _openvino(model, feeds, threads)


def _torch(
    build: Callable[[Any, Mapping[str, Any]], Call] | None,
    arrays: Arrays,
    params: Mapping[str, Any],
    threads: int,
    channels_last: bool,
) -> Call | None:
    if build is None:
        return None
    import torch

    torch.set_num_threads(threads)
    tensors = {k: torch.from_numpy(np.asarray(v)) for k, v in arrays.items()}
    if channels_last:
        tensors = {
            k: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
            for k, t in tensors.items()
        }
    return build(tensors, params)


def _jax(family: Family, arrays: Arrays, params: Mapping[str, Any]) -> Call | None:
    if family.jax is None:
        return None
    import jax

    on_device = {k: jax.device_put(v) for k, v in arrays.items()}
    compiled = jax.jit(family.jax(jax, params)).lower(**on_device).compile()
    return lambda: jax.block_until_ready(compiled(**on_device))


def onnx_model(family: Family, arrays: Arrays, params: Mapping[str, Any]) -> bytes:
    """A model of the family's one node (or few), weights as initializers."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    assert family.onnx is not None
    nodes = family.onnx(helper, params)
    types = {
        np.dtype(np.float32): TensorProto.FLOAT,
        np.dtype(np.int64): TensorProto.INT64,
        np.dtype(bool): TensorProto.BOOL,
    }
    used = {name for node in nodes for name in node.input}
    inputs = [
        helper.make_tensor_value_info(k, types[v.dtype], v.shape)
        for k, v in arrays.items()
        if k in used and k not in family.constants
    ]
    weights = [
        numpy_helper.from_array(arrays[k], k) for k in family.constants if k in used and k in arrays
    ]
    output = helper.make_empty_tensor_value_info("output")
    output.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = helper.make_graph(nodes, family.name, inputs, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def _exported(peer: str, module: Any, arrays: Arrays, threads: int) -> Call:
    """A PyTorch module as each of the two takes it in: by ONNX, or directly."""
    import torch

    inputs = tuple(torch.from_numpy(v) for v in arrays.values())
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # an operator that neither of them knows
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the older exporter, which needs no onnxscript
            if peer == "onnxruntime":
                return _onnxruntime(_as_onnx(module, inputs, tuple(arrays)), arrays, threads)
            import openvino

            shapes = [v.shape for v in arrays.values()]
            model = openvino.convert_model(module, example_input=inputs, input=shapes)
            return _openvino(model, dict(enumerate(arrays.values())), threads)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _as_onnx(module: Any, inputs: tuple[Any, ...], names: tuple[str, ...]) -> bytes:
    import torch

    file = io.BytesIO()
    torch.onnx.export(
        module, inputs, file, dynamo=False, input_names=list(names), output_names=["output"]
    )
    return file.getvalue()


def _onnxruntime(model: bytes, feeds: Arrays, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    used = {i.name for i in session.get_inputs()}
    bound = {k: v for k, v in feeds.items() if k in used}
    return lambda: session.run(None, bound)[0]


def _openvino(model: Any, feeds: Mapping[Any, Any], threads: int) -> Call:
    """A model as ONNX's bytes, fed by names, or as OpenVINO's own, fed by positions."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if isinstance(model, bytes):
        model = core.read_model(model)
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    names = {name for port in compiled.inputs for name in port.get_names()}
    bound = {k: v for k, v in feeds.items() if k in names or isinstance(k, int)}
    return lambda: request.infer(bound, share_inputs=True, share_outputs=True)[0]


def available(wanted: tuple[str, ...]) -> Iterator[str]:
    """The wanted peers that are installed here."""
    return (peer for peer in wanted if installed(peer))
