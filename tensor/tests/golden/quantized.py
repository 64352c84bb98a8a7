"""Blocks of quantised weights by ggml's own reference quantisers, and a checksum of what gguf-py makes of them.

usage: python quantized.py > quantized.json   (needs xllamacpp, whose library has ggml's functions, gguf and numpy)
"""
import ctypes, glob, json, os
import gguf, numpy as np, xllamacpp

library = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(xllamacpp.__file__), "*.so"))[0])
quantize = library.ggml_quantize_chunk
quantize.restype = ctypes.c_size_t
quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]

# Numbers that every language makes alike: 24 bits of a multiplicative sequence, from -1 to 1.
i = np.arange(8 * 256, dtype=np.uint64)
u = ((((i + 1) * 2654435761) % 2**32) >> 8).astype(np.float32) / np.float32(2**23) - np.float32(1)
x = u.reshape(8, 256).copy()
x[1] = x[1] * x[1] * x[1]
x[2] = 0
x[3] = 0.25
x[4] = x[4] * np.float32(0.25) + np.float32(0.5)
x[5] = x[5] * np.float32(0.0009765625)
x[6, :128] = 0
x[7] = -np.abs(x[7])

def checksum(data):
    sum = 0xCBF29CE484222325
    for byte in data:
        sum = (sum ^ byte) * 0x100000001B3 % 2**64
    return f"{sum:016x}"

golden = {}
types = gguf.GGMLQuantizationType
for name, kind in [("q4_0", types.Q4_0), ("q4_1", types.Q4_1), ("q5_0", types.Q5_0), ("q5_1", types.Q5_1), ("q8_0", types.Q8_0),
                   ("q4_k", types.Q4_K), ("q5_k", types.Q5_K), ("q6_k", types.Q6_K)]:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros(x.size // block * size, dtype=np.uint8)
    assert quantize(kind.value, x.ctypes.data, out.ctypes.data, 0, 8, 256, None) == out.size
    floats = gguf.quants.dequantize(out.reshape(8, -1), kind).astype("<f4")
    golden[name] = {"blocks": out.tobytes().hex(), "floats": checksum(floats.tobytes())}
print(json.dumps(golden, indent=1))
