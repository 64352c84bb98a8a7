"""Losses, gradients and scores of small networks by PyTorch, written to networks.csv beside this file: a name, and numbers.

usage: python networks.py     (pip install torch)

Parameters are the numbers of `values` below, one salt each in the order of a network's parameters, as in `src/neural/golden.rs`. Those
of one axis, biases and the weights of norms, are positive: most units of a ReLU then live, and some do not. What lives is printed.
"""
import math, pathlib
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
ROWS = [[0, 1, 4], [1], [0, 2, 3, 5], [3, 4], [1, 2, 5]]
USERS, ITEMS = len(ROWS), 7
lines = []


def values(shape, salt):
    """Numbers from -1 to 1 as if by chance: multiples of 1/2048, which are the same in single precision."""
    def mixed(k):
        x = ((k + 1) * 0x9E3779B1 ^ (salt + 1) * 0x85EBCA77) & 0xFFFFFFFF
        x = ((x ^ x >> 15) * 0x2C1B3C6D) & 0xFFFFFFFF
        x = ((x ^ x >> 12) * 0x297A2D39) & 0xFFFFFFFF
        return x ^ x >> 15

    return torch.tensor([(mixed(k) >> 20) / 2048 - 1 for k in range(math.prod(shape))]).reshape(shape)


def parameters(**shapes):
    own = lambda shape, salt: values(shape, salt).abs() if len(shape) == 1 else values(shape, salt)
    return {name: own(shape, salt).requires_grad_() for salt, (name, shape) in enumerate(shapes.items())}


def relu(name, x):
    """With the share of the outputs that live, and how many units do for some sample, printed."""
    x = torch.relu(x)
    alive = x.detach() > 0
    print(f"{name}: {alive.double().mean():.2f} alive, {int(alive.any(dim=0).sum())} of {alive.shape[1]} units")
    return x


def write(name, numbers):
    lines.append(name + "," + " ".join(f"{x:.7g}" for x in torch.as_tensor(numbers).detach().flatten().tolist()))


def write_gradients(model, own, renamed):
    for name, parameter in own.items():
        write(f"{model} {renamed.get(name, name)}", parameter.grad)


met = torch.zeros(USERS, ITEMS)
for user, items in enumerate(ROWS):
    met[user, items] = 1.0


def mult_vae(hidden=4, latent=3):
    p = parameters(input=(ITEMS, hidden), bias=(hidden,), code_w=(hidden, 2 * latent), code_b=(2 * latent,),
                   decode_w=(latent, hidden), decode_b=(hidden,), output_w=(hidden, ITEMS), output_b=(ITEMS,))

    def forward(noise):
        h = torch.tanh(F.normalize(met, dim=1) @ p["input"] + p["bias"])
        mean, log_variance = (h @ p["code_w"] + p["code_b"]).split(latent, dim=1)
        z = mean + noise * torch.exp(0.5 * log_variance)
        logits = torch.tanh(z @ p["decode_w"] + p["decode_b"]) @ p["output_w"] + p["output_b"]
        return logits, mean, log_variance

    logits, mean, log_variance = forward(values((USERS, latent), 50))
    likelihood = -(F.log_softmax(logits, dim=1) * met).sum(dim=1).mean()
    divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(dim=1).mean()
    loss = likelihood + 0.3 * divergence
    loss.backward()
    write("mult_vae loss", loss)
    names = {"input": "encoder.input", "bias": "encoder.bias", "code_w": "encoder.code.weight", "code_b": "encoder.code.bias",
             "decode_w": "encoder.decode.weight", "decode_b": "encoder.decode.bias", "output_w": "output.weight",
             "output_b": "output.bias"}
    write_gradients("mult_vae", p, names)
    write("mult_vae scores", forward(torch.zeros(USERS, latent))[0])


def light_gcn(dim=3, layers=2, decay=0.1):
    p = parameters(users=(USERS, dim), items=(ITEMS, dim))
    users, items = met.sum(dim=1), met.sum(dim=0)
    graph = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    scaled = met / torch.sqrt(users[:, None] * items[None, :].clamp(min=1))
    graph[:USERS, USERS:], graph[USERS:, :USERS] = scaled, scaled.T
    every = [torch.cat([p["users"], p["items"]])]
    for _ in range(layers):
        every.append(graph @ every[-1])
    final_users, final_items = torch.stack(every).mean(dim=0).split([USERS, ITEMS])
    triples = []
    for user, row in enumerate(ROWS):
        for item in row:
            other = next((item + step) % ITEMS for step in range(1, ITEMS) if (item + step) % ITEMS not in row)
            triples.append((user, item, other))
    u, i, j = torch.tensor(triples).T
    ranking = F.softplus((final_users[u] * final_items[j]).sum(1) - (final_users[u] * final_items[i]).sum(1)).mean()
    norms = 0.5 * (p["users"][u].norm().pow(2) + p["items"][i].norm().pow(2) + p["items"][j].norm().pow(2)) / len(u)
    loss = ranking + decay * norms
    loss.backward()
    write("light_gcn loss", loss)
    write_gradients("light_gcn", p, {})
    write("light_gcn final users", final_users)
    write("light_gcn final items", final_items)


def factorization_machine(name, deep, pairs=True, dim=3, features=9, hidden=4):
    shapes = {"bias": (1,), "table": (features, dim + 1)}
    if deep:
        shapes |= {"deep_0_w": (5 * dim, hidden), "deep_0_b": (hidden,), "deep_1_w": (hidden, 1), "deep_1_b": (1,)}
    p = parameters(**shapes)
    samples = [[(0, 0, 1), (1, 2, 0.5), (1, 3, 0.5), (2, 5, 1), (3, 7, 1), (4, 8, -0.3)],
               [(0, 1, 1), (2, 5, 1), (3, 7, 0.8)], [(0, 0, 1), (1, 3, 1), (2, 6, 1), (4, 8, 2)]]
    scores, norms, inputs = [], 0, []
    for sample in samples:
        score = p["bias"][0]
        for n, (_, i, x) in enumerate(sample):
            score = score + p["table"][i, dim] * x
            norms = norms + (p["table"][i] * x).pow(2).sum()
            for _, j, y in sample[n + 1:] if pairs else []:
                score = score + (p["table"][i, :dim] * p["table"][j, :dim]).sum() * x * y
        fields = [sum((p["table"][i, :dim] * x for own, i, x in sample if own == field), torch.zeros(dim)) for field in range(5)]
        inputs.append(torch.cat(fields))
        scores.append(score)
    scores = torch.stack(scores)
    if deep:
        h = relu(name, torch.stack(inputs) @ p["deep_0_w"] + p["deep_0_b"])
        scores = scores + (h @ p["deep_1_w"] + p["deep_1_b"])[:, 0]
    loss = F.binary_cross_entropy_with_logits(scores, torch.tensor([1.0, 0.0, 1.0])) + 0.2 * 0.5 * norms / 3
    loss.backward()
    write(f"{name} scores", scores)
    write(f"{name} loss", loss)
    write_gradients(name, p, {f"deep_{n}_{x}": f"deep.{n}.{y}" for n in (0, 1) for x, y in (("w", "weight"), ("b", "bias"))})


def two_tower(dim=3, hidden=4):
    tower = {"table": (ITEMS, dim), "layers.0.weight": (dim, hidden), "layers.0.bias": (hidden,),
             "layers.1.weight": (hidden, dim), "layers.1.bias": (dim,)}
    p = parameters(**{f"{side}.{name}": shape for side in ("users", "items") for name, shape in tower.items()})
    pairs, shares = [(0, 1), (4, 2), (1, 1), (2, 0)], values((4,), 9)

    def forward(side, x):
        h = relu(f"two_tower {side}", x @ p[f"{side}.table"] @ p[f"{side}.layers.0.weight"] + p[f"{side}.layers.0.bias"])
        return h @ p[f"{side}.layers.1.weight"] + p[f"{side}.layers.1.bias"]

    history = torch.stack([met[user].clone() for user, _ in pairs])
    for row, (_, item) in zip(history, pairs):
        row[item] = 0
    history = history / history.sum(dim=1, keepdim=True).clamp(min=1)
    logits = forward("users", history) @ forward("items", torch.eye(ITEMS)[[item for _, item in pairs]]).T - shares
    for row, (user, _) in enumerate(pairs):
        for at, (_, other) in enumerate(pairs):
            if at != row and met[user, other]:
                logits = logits.masked_fill(torch.eye(4)[row][:, None] * torch.eye(4)[at][None, :] > 0, -1e9)
    loss = F.cross_entropy(logits, torch.arange(4))
    loss.backward()
    write("two_tower loss", loss)
    write_gradients("two_tower", p, {})


def bert4rec(dim=4, length=5, heads=2):
    norm = lambda name: {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    linear = lambda name, i, o: {f"{name}.weight": (i, o), f"{name}.bias": (o,)}
    p = parameters(**{"items": (ITEMS, dim), "mask": (1, dim), "positions": (length, dim)}, **norm("norm"),
                   **linear("blocks.0.query", dim, dim), **linear("blocks.0.key_value", dim, 2 * dim),
                   **linear("blocks.0.output", dim, dim), **norm("blocks.0.attention_norm"),
                   **linear("blocks.0.feed_forward.up", dim, 4 * dim), **linear("blocks.0.feed_forward.down", 4 * dim, dim),
                   **norm("blocks.0.feed_forward_norm"), **linear("head", dim, dim), **norm("head_norm"))
    dense = lambda name, x: x @ p[f"{name}.weight"] + p[f"{name}.bias"]
    normal = lambda name, x: F.layer_norm(x, (dim,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)
    states = []
    for row in ([3, None, 0, 2], [6, None]):
        x = torch.stack([p["mask"][0] if item is None else p["items"][item] for item in row]) + p["positions"][: len(row)].flip(0)
        x = normal("norm", x)
        split = lambda y: y.reshape(len(row), heads, dim // heads).transpose(0, 1)
        key, value = dense("blocks.0.key_value", x).split(dim, dim=1)
        y = F.scaled_dot_product_attention(split(dense("blocks.0.query", x)), split(key), split(value))
        x = normal("blocks.0.attention_norm", x + dense("blocks.0.output", y.transpose(0, 1).reshape(len(row), dim)))
        y = dense("blocks.0.feed_forward.down", F.gelu(dense("blocks.0.feed_forward.up", x)))
        x = normal("blocks.0.feed_forward_norm", x + y)
        states.append(normal("head_norm", F.gelu(dense("head", x))))
    states = torch.cat(states)
    (states * values((6, dim), 30)).sum().backward()
    write("bert4rec states", states)
    write_gradients("bert4rec", p, {})


def neu_mf(factors=3, hidden=(4, 2)):
    side = hidden[0] // 2
    p = parameters(**{"users": (USERS, factors), "items": (ITEMS, factors), "user_sides": (USERS, side), "item_sides": (ITEMS, side),
                      "layers.0.weight": (2 * side, hidden[0]), "layers.0.bias": (hidden[0],),
                      "layers.1.weight": (hidden[0], hidden[1]), "layers.1.bias": (hidden[1],),
                      "head.weight": (factors + hidden[1], 1), "head.bias": (1,)})
    u, i = torch.cartesian_prod(torch.arange(USERS), torch.arange(ITEMS)).T
    x = torch.cat([p["user_sides"][u], p["item_sides"][i]], dim=1)
    for layer in (0, 1):
        x = relu(f"neu_mf layer {layer}", x @ p[f"layers.{layer}.weight"] + p[f"layers.{layer}.bias"])
    scores = (torch.cat([p["users"][u] * p["items"][i], x], dim=1) @ p["head.weight"] + p["head.bias"])[:, 0]
    loss = F.binary_cross_entropy_with_logits(scores, met[u, i])
    loss.backward()
    write("neu_mf loss", loss)
    write_gradients("neu_mf", p, {})
    write("neu_mf scores", scores)


mult_vae()
light_gcn()
neu_mf()
bert4rec()
two_tower()
factorization_machine("fm", False)
factorization_machine("deep_fm", True)
factorization_machine("wide_and_deep", True, False)
pathlib.Path(__file__).with_suffix(".csv").write_text("\n".join(lines) + "\n")
