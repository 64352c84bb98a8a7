"""Runs onnx_*.onnx in ONNX Runtime on the inputs in onnx_outputs.safetensors, and puts the outputs beside them; so for
onnx_traced_*.onnx:

    cargo test -p cairn-nn --test onnx --test onnx_traced -- --ignored && python nn/tests/golden/run_onnx.py
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

folder = Path(__file__).parent
for kind in ["onnx", "onnx_traced"]:
    tensors = load_file(folder / f"{kind}_outputs.safetensors")
    for name in sorted(key.split(".")[0] for key in tensors if key.endswith(".input")):
        path = folder / f"{kind}_{name}.onnx"
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        ids = session.get_inputs()[0].type == "tensor(int64)"
        x = tensors[f"{name}.input"]
        (tensors[f"{name}.output"],) = session.run(None, {"input": x.astype(np.int64) if ids else x})
    save_file(tensors, folder / f"{kind}_outputs.safetensors")
