"""Runs the models that `examples/onnx.rs` wrote in ONNX Runtime, and compares their output with Cairn's.

    cargo run -p cairn-nn --example onnx -- FOLDER && python nn/examples/check_onnx.py FOLDER

Needs numpy, onnx, onnxruntime and safetensors. Exits 1 unless every element of every model agrees to 1e-5 (relative to
the larger of 1 and the element).
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

worst, count = 0.0, 0
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    data = load_file(path.with_suffix(".safetensors"))
    ids = session.get_inputs()[0].type == "tensor(int64)"
    (output,) = session.run(None, {"input": data["input"].astype(np.int64) if ids else data["input"]})
    assert output.shape == data["output"].shape, (path.name, output.shape, data["output"].shape)
    apart = np.max(np.abs(output - data["output"]) / np.maximum(1, np.abs(data["output"])))
    print(f"{path.stem:30} {apart:.1e}")
    worst, count = max(worst, apart), count + 1
print(f"{count} models, at most {worst:.1e} apart")
sys.exit(not (count > 0 and worst <= 1e-5))
