"""Vectors of lightfm-next 1.19 after two passes of its logistic loss over given pairs, written to lightfm.csv beside this file.

usage: python lightfm.py     (pip install lightfm-next)

Log, features, order and start are those of the test in `src/features/lightfm/learn.rs`. Biases of users, which Cairn has not, stay 0.
"""
import math, pathlib
import numpy as np, scipy.sparse as sp
from lightfm import LightFM

ROWS = [[0, 1, 4], [1], [0, 2, 3, 5], [3, 4], [1, 2, 5]]
USERS, ITEMS, DIM = 5, 7, 3


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

model = LightFM(no_components=DIM, loss="logistic", learning_rate=0.1, random_state=InOrder(0))
model._initialize(DIM, ITEMS + 3, USERS + 2)
start_items, start_users = values((ITEMS + 3) * 4, 1).reshape(-1, 4), values((USERS + 2) * 4, 2).reshape(-1, 4)
model.item_embeddings, model.item_biases = start_items[:, :3].copy(), start_items[:, 3].copy()
model.user_embeddings = start_users[:, :3].copy()
model.user_bias_gradients += 1e30
model.fit_partial(log, user_features=sp.csr_matrix(users), item_features=sp.csr_matrix(items), epochs=1, num_threads=1)
assert abs(model.user_biases).max() < 1e-10
table = {"items": np.hstack([model.item_embeddings, model.item_biases[:, None]]), "users": model.user_embeddings}
lines = [name + "," + " ".join(f"{x:.7g}" for x in numbers.ravel()) for name, numbers in table.items()]
pathlib.Path(__file__).with_suffix(".csv").write_text("\n".join(lines) + "\n")
