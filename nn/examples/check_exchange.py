"""Exchanges weights of the four reference models with live PyTorch and Keras, both ways.

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


class Sequence(nn.Module):
    """An LSTM in a chain of parts: the outputs of all steps, or of the last."""

    def __init__(self, inputs, units, last):
        super().__init__()
        self.lstm, self.last = nn.LSTM(inputs, units, batch_first=True), last

    def forward(self, x):
        steps, (hidden, _) = self.lstm(x)
        return hidden[-1] if self.last else steps


def torch_model(name):
    if name == "mlp":
        parts = [("dense", nn.Linear(784, 64)), ("relu", nn.ReLU()), ("dense_1", nn.Linear(64, 64))]
        parts += [("relu_1", nn.ReLU()), ("dense_2", nn.Linear(64, 10))]
    elif name == "cnn":
        parts = [("conv2d", nn.Conv2d(1, 8, 3)), ("relu", nn.ReLU()), ("max_pool2d", nn.MaxPool2d(2))]
        parts += [("conv2d_1", nn.Conv2d(8, 16, 3, padding="same", bias=False))]
        parts += [("batch_norm", nn.BatchNorm2d(16, eps=1e-3)), ("relu_1", nn.ReLU()), ("flatten", nn.Flatten())]
        parts += [("dense", nn.Linear(16 * 13 * 13, 10))]
    elif name == "rnn":
        parts = [("lstm", Sequence(1, 64, False)), ("lstm_1", Sequence(64, 64, False)), ("dense", nn.Linear(64, 10))]
    else:
        parts = [("embedding", nn.Embedding(10_000, 128)), ("lstm", Sequence(128, 64, True))]
        parts += [("dense", nn.Linear(64, 10))]
    return nn.Sequential(OrderedDict(parts)).eval()


def keras_model(name):
    if name == "mlp":
        parts = [keras.Input([784]), layers.Dense(64, "relu", name="dense")]
        parts += [layers.Dense(64, "relu", name="dense_1"), layers.Dense(10, name="dense_2")]
    elif name == "cnn":
        parts = [keras.Input([28, 28, 1]), layers.Conv2D(8, 3, activation="relu", name="conv2d")]
        parts += [layers.MaxPooling2D(2), layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv2d_1")]
        parts += [layers.BatchNormalization(name="batch_norm"), layers.ReLU(), layers.Flatten()]
        parts += [layers.Dense(10, name="dense")]
    elif name == "rnn":
        parts = [keras.Input([10, 1]), layers.LSTM(64, return_sequences=True, name="lstm")]
        parts += [layers.LSTM(64, return_sequences=True, name="lstm_1"), layers.Dense(10, name="dense")]
    else:
        parts = [keras.Input([100]), layers.Embedding(10_000, 128, name="embedding")]
        parts += [layers.LSTM(64, name="lstm"), layers.Dense(10, name="dense")]
    return keras.Sequential(parts)


class Torch:
    library = "torch"

    def __init__(self, name):
        self.model = torch_model(name)

    def load(self, weights):
        weights = {self.longer(key): value for key, value in weights.items()}
        result = self.model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
        assert not result.unexpected_keys and all("num_batches" in key for key in result.missing_keys), result

    def weights(self):
        return {self.shorter(key): value.numpy() for key, value in self.model.state_dict().items()}

    # `Sequence` puts a name around its LSTM.
    def longer(self, key):
        layer, value = key.split(".")
        return f"{layer}.lstm.{value}" if layer.startswith("lstm") else key

    def shorter(self, key):
        layer, *_, value = key.split(".")
        return f"{layer}.{value}"

    def output(self, x):
        with torch.no_grad():
            return self.model(torch.from_numpy(x)).numpy()


class Keras:
    library = "keras"

    def __init__(self, name):
        self.model = keras_model(name)

    def load(self, weights):
        short = lambda path: path.split("/", 1)[1]
        assert {short(v.path) for v in self.model.weights} == set(weights)
        for variable in self.model.weights:
            variable.assign(weights[short(variable.path)])

    def weights(self):
        return {v.path: np.ascontiguousarray(keras.ops.convert_to_numpy(v)) for v in self.model.weights}

    def output(self, x):
        return keras.ops.convert_to_numpy(self.model(x, training=False))


subprocess.run([program, "write", folder], check=True)
worst = 0.0
for name in ["mlp", "cnn", "rnn", "nlp"]:
    for kind in [Torch, Keras]:
        there = kind(name)
        data = load_file(folder / f"{name}_{kind.library}.cairn.safetensors")
        x, expected = data.pop("input"), data.pop("output")
        ids = x.astype(np.int64) if name == "nlp" else x
        fresh = {key: value.copy() for key, value in there.weights().items()}
        # Their own first weights go the other way.
        out = there.output(ids).copy()
        save_file(fresh | {"input": x, "output": out}, folder / f"{name}_{kind.library}.theirs.safetensors")
        there.load(data)
        apart = np.max(np.abs(there.output(ids) - expected))
        print(f"{name}: {kind.library} computes Cairn's, {apart:.1e} apart")
        worst = max(worst, apart)
result = subprocess.run([program, "read", folder])
sys.exit(not (worst < 1e-5 and result.returncode == 0))
