"""Makes torch_*.safetensors and keras_*.safetensors: small models of PyTorch and Keras, their weights, an input and the output
they computed from it (`input`, `output`). Run once: python make_exchange.py
"""

import os
from collections import OrderedDict

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

torch.manual_seed(3)
keras.utils.set_random_seed(3)
random = np.random.default_rng(3)


def torch_file(name, layers, x, dtype=np.float32):
    model = nn.Sequential(OrderedDict(layers)).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():  # Norms would otherwise be the identity.
                value.copy_(torch.rand_like(value) * 0.8 + (0.1 if "var" in key else -0.4))
        y = model(torch.from_numpy(x)).numpy()
    tensors = {key: value.numpy() for key, value in model.state_dict().items()}
    tensors = {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in tensors.items()}
    save_file(tensors | {"input": x, "output": y}, name, metadata={"made by": "make_exchange.py"})


def keras_file(name, shape, layers, x):
    model = keras.Sequential([keras.Input(shape), *layers])
    for variable in model.weights:
        low = 0.1 if "variance" in variable.path else -0.4
        variable.assign(random.uniform(low, low + 0.8, variable.shape))
    y = np.asarray(keras.ops.convert_to_numpy(model(x, training=False)))
    tensors = {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()} | {"input": x, "output": y}, name)


floats = lambda *shape: random.uniform(-1, 1, shape).astype(np.float32)

torch_file(
    "torch_mlp.safetensors",
    [("dense", nn.Linear(6, 5)), ("relu", nn.ReLU()), ("dense_1", nn.Linear(5, 3))],
    floats(4, 6),
)
torch_file(
    "torch_cnn.safetensors",
    [
        ("conv2d", nn.Conv2d(2, 4, (3, 2), padding=1, groups=2)),
        ("batch_norm", nn.BatchNorm2d(4)),
        ("relu", nn.ReLU()),
        ("conv_transpose2d", nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)),
        ("pool", nn.MaxPool2d(2)),
        ("group_norm", nn.GroupNorm(3, 6)),
        ("flatten", nn.Flatten()),
        ("batch_norm_1", nn.BatchNorm1d(6 * 5 * 5)),
        ("dense", nn.Linear(6 * 5 * 5, 3)),
    ],
    floats(2, 2, 5, 4),
)
torch_file(
    "torch_sequence.safetensors",
    [
        ("conv1d", nn.Conv1d(3, 4, 3, dilation=2)),
        ("relu", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("dense", nn.Linear(4 * 5, 2)),
    ],
    floats(2, 3, 9),
)
keras_file(
    "keras_mlp.safetensors",
    (6,),
    [keras.layers.Dense(5, activation="relu", name="dense"), keras.layers.Dense(3, name="dense_1")],
    floats(4, 6),
)
keras_file(
    "keras_cnn.safetensors",
    (6, 5, 2),
    [
        keras.layers.Conv2D(4, 3, padding="same", name="conv2d"),
        keras.layers.BatchNormalization(name="batch_norm"),
        keras.layers.ReLU(),
        keras.layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="conv_transpose2d"),
        keras.layers.MaxPooling2D(2),
        keras.layers.GroupNormalization(3, name="group_norm"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, name="dense"),
    ],
    floats(2, 6, 5, 2),
)


class Chain(nn.Sequential):
    """Parts one after the other; of a recurrent one the outputs of all steps, or of the last if its name is in `last`."""

    last = ()

    def forward(self, x):
        for name, part in self.named_children():
            x = part(x)
            if isinstance(x, tuple):
                steps, states = x
                states = states[0] if isinstance(states, tuple) else states
                # The states of a stack's last layer, the directions side by side.
                end = torch.cat(list(states[-1 - part.bidirectional :]), dim=-1)
                x = end if name in self.last else steps
        return x


def torch_sequences(name, parts, x, last=()):
    model = Chain(OrderedDict(parts)).eval()
    model.last = last
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.rand_like(value) - 0.5)
        y = model(torch.from_numpy(x)).numpy()
    tensors = {key: value.numpy() for key, value in model.state_dict().items()}
    save_file(tensors | {"input": x, "output": y}, name)


ids = lambda vocabulary, *shape: random.integers(0, vocabulary, shape)
several = dict(batch_first=True)

torch_sequences(
    "torch_rnn.safetensors",
    [("lstm", nn.LSTM(1, 6, **several)), ("lstm_1", nn.LSTM(6, 6, **several)), ("dense", nn.Linear(6, 3))],
    floats(4, 7, 1),
)
torch_sequences(
    "torch_nlp.safetensors",
    [("embedding", nn.Embedding(20, 4)), ("lstm", nn.LSTM(4, 5, **several)), ("dense", nn.Linear(5, 3))],
    ids(20, 4, 9),
    last=["lstm"],
)
torch_sequences(
    "torch_stack.safetensors",
    [
        ("embedding", nn.Embedding(9, 3)),
        ("gru", nn.GRU(3, 4, num_layers=2, bidirectional=True, **several)),
        ("rnn", nn.RNN(8, 3, bidirectional=True, **several)),
        ("rnn_1", nn.RNN(6, 3, nonlinearity="relu", num_layers=2, **several)),
        ("flatten", nn.Flatten()),
        ("dense", nn.Linear(3 * 5, 2)),
    ],
    ids(9, 4, 5),
)
torch_sequences(
    "torch_last.safetensors",
    [("gru", nn.GRU(2, 3, num_layers=2, bidirectional=True, **several)), ("dense", nn.Linear(6, 2))],
    floats(4, 5, 2),
    last=["gru"],
)
keras_file(
    "keras_rnn.safetensors",
    (7, 1),
    [
        keras.layers.LSTM(6, return_sequences=True, name="lstm"),
        keras.layers.LSTM(6, return_sequences=True, name="lstm_1"),
        keras.layers.Dense(3, name="dense"),
    ],
    floats(4, 7, 1),
)
keras_file(
    "keras_nlp.safetensors",
    (9,),
    [
        keras.layers.Embedding(20, 4, name="embedding"),
        keras.layers.LSTM(5, name="lstm"),
        keras.layers.Dense(3, name="dense"),
    ],
    ids(20, 4, 9),
)
both = lambda layer, name: keras.layers.Bidirectional(layer, name=name)
keras_file(
    "keras_stack.safetensors",
    (5, 2),
    [
        both(keras.layers.SimpleRNN(3, return_sequences=True, name="simple_rnn"), "rnn"),
        keras.layers.GRU(4, return_sequences=True, name="gru"),
        keras.Sequential(
            [
                both(keras.layers.GRU(3, return_sequences=True, name="gru"), "0"),
                both(keras.layers.GRU(3, name="gru"), "1"),
            ],
            name="gru_1",
        ),
        keras.layers.Dense(2, name="dense"),
    ],
    floats(4, 5, 2),
)
keras_file(
    "keras_gru.safetensors",
    (5, 2),
    [
        keras.layers.GRU(4, reset_after=False, return_sequences=True, name="gru"),
        both(keras.layers.GRU(3, reset_after=False, name="gru"), "gru_1"),
    ],
    floats(4, 5, 2),
)
padded = np.array([[3, 7, 2, 9, 4, 1], [5, 6, 0, 0, 0, 0], [0, 0, 0, 8, 2, 5], [0, 4, 3, 6, 0, 0]])
masked = lambda: keras.layers.Embedding(10, 4, mask_zero=True, name="embedding")
keras_file(
    "keras_masked.safetensors",
    (6,),
    [
        masked(),
        keras.layers.LSTM(4, return_sequences=True, name="lstm"),
        keras.layers.Dense(3, activation="tanh", name="dense"),
        both(keras.layers.GRU(3, name="gru"), "gru"),
        keras.layers.Dense(2, name="dense_1"),
    ],
    padded,
)
keras_file(
    "keras_masked_mean.safetensors",
    (6,),
    [
        masked(),
        keras.layers.SimpleRNN(3, return_sequences=True, name="simple_rnn"),
        keras.layers.GlobalAveragePooling1D(name="mean"),
        keras.layers.Dense(2, name="dense"),
    ],
    padded,
)
