"""Predictions of Surprise 1.1 on a small generated log, written to surprise_ratings.csv beside this file.

usage: python surprise_ratings.py     (pip install scikit-surprise pandas)
"""
import csv, itertools, pathlib
import numpy as np, pandas as pd, surprise

USERS, ITEMS = 30, 25

def log():
    """The generator of `golden_log` in ../ratings.rs: users and items in ascending order."""
    state, rows, rest = 12345, [], []
    for user, item in itertools.product(range(USERS), range(ITEMS)):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        draw = state >> 33
        if draw % 10 < 4:
            rows.append((user, item, float((draw // 10 + user // 6 + item // 5) % 5 + 1)))
        else:
            rest.append((user, item))
    return rows, rest

rows, rest = log()
frame = pd.DataFrame(rows, columns=["u", "i", "r"])
train = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
als, sgd = {"method": "als"}, {"method": "sgd"}
models = {"baseline als": surprise.BaselineOnly(bsl_options=als, verbose=False),
          "baseline sgd": surprise.BaselineOnly(bsl_options=sgd, verbose=False),
          "slope one": surprise.SlopeOne(),
          "nmf": surprise.NMF(n_factors=4, n_epochs=20, init_low=0.5, init_high=0.5)}
for (name, kind), similarity, item_based in itertools.product(
        {"none": surprise.KNNBasic, "means": surprise.KNNWithMeans, "baseline": surprise.KNNBaseline,
         "z_score": surprise.KNNWithZScore}.items(),
        ("cosine", "msd", "pearson", "pearson_baseline"), (False, True)):
    options = {"name": similarity, "user_based": not item_based, "min_support": 2}
    models[f"knn {name} {similarity} {'items' if item_based else 'users'}"] = kind(k=5, sim_options=options, verbose=False)

class ByNumber(np.random.RandomState):
    """Starts users, who are drawn first, and items in groups by their numbers."""
    sides = iter([[train.to_raw_uid(u) for u in train.all_users()], [train.to_raw_iid(i) for i in train.all_items()]])

    def randint(self, low, high=None, size=None, dtype=int):
        return np.array(next(self.sides)) % (low if high is None else high)

models["co-clustering"] = surprise.CoClustering(random_state=ByNumber())

with open(pathlib.Path(__file__).with_suffix(".csv"), "w", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["model", "user", "item", "rating"])
    for name, model in models.items():
        model.fit(train)
        for user, item in rest[::29]:
            out.writerow([name, user, item, f"{model.predict(user, item).est:.6f}"])
