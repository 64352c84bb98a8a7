"""Exchanges weights of a perceptron and a convolutional network with live PyTorch and Keras, both ways.

    cargo build -p cairn-nn --example exchange
    python nn/examples/check_exchange.py target/debug/examples/exchange FOLDER

Needs torch, keras, numpy and safetensors. Exits 1 unless all outputs agree to 1e-5.
"""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import torch
from keras import layers
from safetensors.numpy import load_file, save_file
from torch import nn

program, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)


def torch_model(name):
    if name == "mlp":
        parts = [("dense", nn.Linear(784, 64)), ("relu", nn.ReLU()), ("dense_1", nn.Linear(64, 64))]
        parts += [("relu_1", nn.ReLU()), ("dense_2", nn.Linear(64, 10))]
    else:
        parts = [("conv2d", nn.Conv2d(1, 8, 3)), ("relu", nn.ReLU()), ("max_pool2d", nn.MaxPool2d(2))]
        parts += [("conv2d_1", nn.Conv2d(8, 16, 3, padding="same", bias=False))]
        parts += [("batch_norm", nn.BatchNorm2d(16, eps=1e-3)), ("relu_1", nn.ReLU()), ("flatten", nn.Flatten())]
        parts += [("dense", nn.Linear(16 * 13 * 13, 10))]
    return nn.Sequential(OrderedDict(parts)).eval()


def keras_model(name):
    if name == "mlp":
        parts = [keras.Input([784]), layers.Dense(64, "relu", name="dense")]
        parts += [layers.Dense(64, "relu", name="dense_1"), layers.Dense(10, name="dense_2")]
    else:
        parts = [keras.Input([28, 28, 1]), layers.Conv2D(8, 3, activation="relu", name="conv2d")]
        parts += [layers.MaxPooling2D(2), layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv2d_1")]
        parts += [layers.BatchNormalization(name="batch_norm"), layers.ReLU(), layers.Flatten()]
        parts += [layers.Dense(10, name="dense")]
    return keras.Sequential(parts)


class Torch:
    library = "torch"

    def __init__(self, name):
        self.model = torch_model(name)

    def load(self, weights):
        result = self.model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
        assert not result.unexpected_keys and all("num_batches" in key for key in result.missing_keys), result

    def weights(self):
        return {key: value.numpy() for key, value in self.model.state_dict().items()}

    def output(self, x):
        with torch.no_grad():
            return self.model(torch.from_numpy(x)).numpy()


class Keras:
    library = "keras"

    def __init__(self, name):
        self.model = keras_model(name)

    def load(self, weights):
        short = lambda path: "/".join(path.split("/")[-2:])
        assert {short(v.path) for v in self.model.weights} == set(weights)
        for variable in self.model.weights:
            variable.assign(weights[short(variable.path)])

    def weights(self):
        return {v.path: np.ascontiguousarray(keras.ops.convert_to_numpy(v)) for v in self.model.weights}

    def output(self, x):
        return keras.ops.convert_to_numpy(self.model(x, training=False))


subprocess.run([program, "write", folder], check=True)
worst = 0.0
for name in ["mlp", "cnn"]:
    for kind in [Torch, Keras]:
        there = kind(name)
        data = load_file(folder / f"{name}_{kind.library}.cairn.safetensors")
        x, expected = data.pop("input"), data.pop("output")
        fresh = {key: value.copy() for key, value in there.weights().items()}
        # Their own first weights go the other way.
        out = there.output(x).copy()
        save_file(fresh | {"input": x, "output": out}, folder / f"{name}_{kind.library}.theirs.safetensors")
        there.load(data)
        apart = np.max(np.abs(there.output(x) - expected))
        print(f"{name}: {kind.library} computes Cairn's, {apart:.1e} apart")
        worst = max(worst, apart)
result = subprocess.run([program, "read", folder])
sys.exit(not (worst < 1e-5 and result.returncode == 0))
