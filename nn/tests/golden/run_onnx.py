"""Runs onnx_*.onnx in ONNX Runtime on the inputs in onnx_outputs.safetensors, and puts the outputs beside them:

    cargo test -p cairn-nn --test onnx -- --ignored && python nn/tests/golden/run_onnx.py
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

folder = Path(__file__).parent
tensors = load_file(folder / "onnx_outputs.safetensors")
for name in sorted(key.split(".")[0] for key in tensors if key.endswith(".input")):
    path = folder / f"onnx_{name}.onnx"
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids = session.get_inputs()[0].type == "tensor(int64)"
    x = tensors[f"{name}.input"]
    (tensors[f"{name}.output"],) = session.run(None, {"input": x.astype(np.int64) if ids else x})
save_file(tensors, folder / "onnx_outputs.safetensors")
