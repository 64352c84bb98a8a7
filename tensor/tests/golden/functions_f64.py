"""Correctly rounded values of the functions of cpu/math64.rs: lines of `name argument value`, both as bits in hex.

usage: python functions_f64.py > functions_f64.txt      (needs mpmath)
"""
import math, random, struct
import mpmath as mp

mp.mp.prec = 400
FUNCTIONS = {
    "exp": (mp.exp, -745, 709.7), "expm1": (mp.expm1, -40, 709.7), "ln": (mp.log, 0, None), "ln_1p": (mp.log1p, -1, None),
    "tanh": (mp.tanh, -20, 20), "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), -745, 40), "erf": (mp.erf, -6, 6),
    "sin": (mp.sin, -2 ** 20, 2 ** 20), "cos": (mp.cos, -2 ** 20, 2 ** 20),
}

def bits(x):
    return struct.pack(">d", x).hex()

def nearest(y):
    """The nearest double; mpmath's own conversion rounds denormals twice."""
    if y == 0 or abs(y) >= mp.mpf(2) ** -1022:
        return float(y)
    return float(mp.nint(y * mp.mpf(2) ** 1074)) * 2.0 ** -1074

random.seed(0)
for name, (f, low, high) in FUNCTIONS.items():
    arguments = []
    while len(arguments) < 120:   # of all sizes
        x = random.choice((-1, 1)) * random.uniform(1, 2) * 2.0 ** random.randint(-1070, 1020 if high is None else 10)
        if low < x and (high is None or x < high):
            arguments.append(x)
    arguments += [random.uniform(low, high if high is not None else 3) for _ in range(120)]
    arguments += [random.uniform(max(low, -1), 1) for _ in range(120)]
    if name in ("sin", "cos"):    # and close to where they vanish
        arguments += [float(random.randint(1, 2 ** random.randint(1, 19)) * mp.pi / 2) for _ in range(240)]
    for x in arguments:
        if x > low:
            print(name, bits(x), bits(nearest(f(mp.mpf(x)))))
