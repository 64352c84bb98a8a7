"""Writes keras_transformers.safetensors: Keras's attention to another sequence, and with values of another size, and keras_hub's
TransformerEncoder: their weights by path, what goes in, and what they make of it.

    pip install keras keras-hub torch safetensors && python nn/tests/golden/keras_transformers.py
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
from pathlib import Path

import keras
import numpy as np
from keras_hub.src.layers.modeling.transformer_encoder import TransformerEncoder
from safetensors.numpy import save_file

random = np.random.default_rng(5)
x = random.uniform(-1, 1, (2, 4, 8)).astype(np.float32)
memory = random.uniform(-1, 1, (2, 5, 6)).astype(np.float32)
tensors = {"x": x, "memory": memory}
Multi, Grouped = keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention
gelu = keras.activations.gelu
cases = {
    "cross": (Multi(2, 4, name="attention"), (x, memory)),
    "cross_no_bias": (Multi(2, 3, use_bias=False, name="attention"), (x, memory)),
    "cross_values": (Multi(2, 4, value_dim=5, name="attention"), (x, memory)),
    "cross_grouped": (Grouped(4, 4, 2, name="attention"), (x, memory)),
    "own_values": (Multi(2, 4, value_dim=5, name="attention"), (x, x)),
    "encoder": (TransformerEncoder(12, 2, name="attention"), (x,)),
    "encoder_first": (
        TransformerEncoder(12, 2, normalize_first=True, activation=lambda x: gelu(x, approximate=False), name="attention"),
        (x,),
    ),
}
for case, (layer, inputs) in cases.items():
    layer(*inputs)
    for variable in layer.weights:
        variable.assign(random.uniform(-0.4, 0.4, variable.shape))
    tensors[f"{case}:output"] = np.ascontiguousarray(keras.ops.convert_to_numpy(layer(*inputs, training=False)))
    for variable in layer.weights:
        tensors[f"{case}:{variable.path}"] = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
save_file(tensors, Path(__file__).parent / "keras_transformers.safetensors", metadata={"made by": "keras_transformers.py"})
