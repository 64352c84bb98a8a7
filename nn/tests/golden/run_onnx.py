"""Runs onnx_*.onnx in ONNX Runtime on the inputs in onnx_outputs.safetensors, and puts the outputs beside them; so for
onnx_traced_*.onnx and onnx_layers_*.onnx:

    cargo test -p cairn-nn --test onnx --test onnx_traced --test onnx_layers -- --ignored && python nn/tests/golden/run_onnx.py

An input is called `NAME.input`; of several the first is `NAME.input_0`.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

folder = Path(__file__).parent
for kind in ["onnx", "onnx_traced", "onnx_layers"]:
    tensors = load_file(folder / f"{kind}_outputs.safetensors")
    for name in sorted({key.split(".")[0] for key in tensors if not key.endswith(".output")}):
        path = folder / f"{kind}_{name}.onnx"
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        inputs = {}
        for put in session.get_inputs():
            x = tensors[f"{name}.{put.name}"]
            inputs[put.name] = x.astype(np.int64) if put.type == "tensor(int64)" else x
        (tensors[f"{name}.output"],) = session.run(None, inputs)
    save_file(tensors, folder / f"{kind}_outputs.safetensors")
