"""Vectors of lightfm-next 1.19 after two passes of its losses over given pairs or triples, written to lightfm.csv beside this file.

usage: python -P lightfm.py     (pip install lightfm-next; -P, for this file has the name of the package)

Log, features, order and start are those of the tests in `src/features/lightfm/learn.rs`. Biases of users, which Cairn has not, stay 0.
WARP and BPR draw their negatives: each positive is trained by itself, among DRAWN items that are all the same one but itself, so that it
does not matter which is drawn, unless it is the positive. That it never was is seen from other seeds, which give the same numbers.
"""
import math, pathlib
import numpy as np, scipy.sparse as sp
from lightfm import LightFM

ROWS = [[0, 1, 4], [1], [0, 2, 3, 5], [3, 4], [1, 2, 5]]
USERS, ITEMS, DIM, DRAWN = 5, 7, 3, 400


class InOrder(np.random.RandomState):
    def shuffle(self, x):
        pass


def values(n, salt):
    return np.array([0.5 * math.sin(0.7 * k + 1.3 * salt) for k in range(n)], dtype=np.float32)


pairs = []
for user, row in enumerate(ROWS):
    for item in row:
        other = next((item + step) % ITEMS for step in range(1, ITEMS) if (item + step) % ITEMS not in row)
        pairs += [(user, item, 1), (user, other, -1)]
u, i, y = (np.array(column) for column in zip(*pairs * 2))
log = sp.coo_matrix((y.astype(np.float32), (u.astype(np.int32), i.astype(np.int32))), shape=(USERS, ITEMS))
items = np.hstack([np.eye(ITEMS), np.zeros((ITEMS, 3))])
users = np.hstack([np.eye(USERS), np.zeros((USERS, 2))])
for item in range(ITEMS):
    if item % 2 == 0:
        items[item, [ITEMS, ITEMS + 1]] = math.sqrt(0.5)
    else:
        items[item, ITEMS + 2] = 1.0
for user in range(USERS):
    users[user, USERS + user % 2] = 1.0

start_items, start_users = values((ITEMS + 3) * 4, 1).reshape(-1, 4), values((USERS + 2) * 4, 2).reshape(-1, 4)


def started(loss, seed=0):
    model = LightFM(no_components=DIM, loss=loss, learning_rate=0.1, random_state=InOrder(seed))
    model._initialize(DIM, ITEMS + 3, USERS + 2)
    model.item_embeddings, model.item_biases = start_items[:, :3].copy(), start_items[:, 3].copy()
    model.user_embeddings = start_users[:, :3].copy()
    model.user_bias_gradients += 1e30
    return model


def train(model, log, features):
    of_users, of_items = sp.csr_matrix(users), sp.csr_matrix(features)
    model.fit_partial(log, user_features=of_users, item_features=of_items, epochs=1, num_threads=1)


def vectors(model):
    assert abs(model.user_biases).max() < 1e-10
    return {"items": np.hstack([model.item_embeddings, model.item_biases[:, None]]), "users": model.user_embeddings}


def with_triples(loss, seed):
    """By triples of a user, an item met and one not met: the next one after it."""
    model = started(loss, seed)
    for user, item, _ in list(zip(u, i, y))[::2]:
        other = next((item + step) % ITEMS for step in range(1, ITEMS) if (item + step) % ITEMS not in ROWS[user])
        features = np.vstack([items[item]] + [items[other]] * (DRAWN - 1))
        # BPR draws among the items of all rows, and steps for those that are positive; WARP draws among all items.
        signs = np.array([1.0] + [-1.0] * (DRAWN - 1) if loss == "bpr" else [1.0], dtype=np.float32)
        rows = np.full(len(signs), user, dtype=np.int32), np.arange(len(signs), dtype=np.int32)
        train(model, sp.coo_matrix((signs, rows), shape=(USERS, DRAWN)), features)
    return vectors(model)


model = started("logistic")
train(model, log, items)
table = vectors(model)
for loss in ("warp", "bpr"):
    runs = [with_triples(loss, seed) for seed in range(3)]
    assert all(np.array_equal(run[side], runs[0][side]) for run in runs for side in run), "a positive was drawn: take other seeds"
    table |= {f"{loss} {side}": numbers for side, numbers in runs[0].items()}
lines = [name + "," + " ".join(f"{x:.7g}" for x in numbers.ravel()) for name, numbers in table.items()]
pathlib.Path(__file__).with_suffix(".csv").write_text("\n".join(lines) + "\n")
