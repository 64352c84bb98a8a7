"""Makes keras_attention.safetensors: Keras's MultiHeadAttention and GroupQueryAttention of a sequence to itself, their weights by path, an
input and what they make of it. Run once: python keras_attention.py
"""
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
from safetensors.numpy import save_file

random = np.random.default_rng(3)
x = random.uniform(-1, 1, (2, 5, 8)).astype(np.float32)
tensors = {"input": x}
layers = {
    "multi": keras.layers.MultiHeadAttention(2, 4, name="attention"),
    "multi_no_bias": keras.layers.MultiHeadAttention(2, 3, use_bias=False, name="attention"),
    "grouped": keras.layers.GroupQueryAttention(4, 4, 2, name="attention"),
}
for name, layer in layers.items():
    layer(x, x)
    for variable in layer.weights:
        variable.assign(random.uniform(-0.4, 0.4, variable.shape))
    tensors[f"{name}:output"] = np.asarray(keras.ops.convert_to_numpy(layer(x, x, training=False)))
    for variable in layer.weights:
        tensors[f"{name}:{variable.path}"] = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
save_file(tensors, "keras_attention.safetensors", metadata={"made by": "keras_attention.py"})
print("\n".join(f"{k} {v.shape}" for k, v in tensors.items()))
