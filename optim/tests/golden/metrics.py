"""Makes metrics.json: random predictions and what scikit-learn (and scipy for the rank correlation) says of them. Run once:
`python metrics.py > metrics.json`.
"""
import json
import numpy as np
from scipy.special import log_softmax, softmax
from scipy.stats import spearmanr
from sklearn import metrics as m

rng = np.random.default_rng(7)
n, classes = 50, 4
logits = np.round(rng.normal(size=(n, classes)), 2).astype(np.float32)
labels = rng.integers(0, 3, size=n)  # class 3 has no sample
logits[:, 3] -= 2
guess = logits.argmax(1)
# Scores with ties.
scores = np.round(rng.normal(size=n) + 0.5 * (labels == 1), 1).astype(np.float32)
yes = (labels == 1).astype(int)
targets = np.round(rng.normal(size=(n, 2)), 2).astype(np.float32)
predictions = np.round(targets + rng.normal(size=(n, 2)), 2).astype(np.float32)
kept = labels != 0


def averaged(of):
    return {average: float(of(labels, guess, average=average, zero_division=0))
            for average in ("macro", "micro", "weighted")} | {
        "class_1": float(of(labels, guess, labels=[1], average=None, zero_division=0)[0])}


print(json.dumps({
    "logits": logits.ravel().tolist(), "labels": labels.tolist(),
    "scores": scores.tolist(), "yes": yes.tolist(),
    "targets": targets.ravel().tolist(), "predictions": predictions.ravel().tolist(),
    "accuracy": float(m.accuracy_score(labels, guess)),
    "accuracy_ignoring_0": float(m.accuracy_score(labels[kept], guess[kept])),
    "top_2": float(m.top_k_accuracy_score(labels, logits, k=2, labels=range(classes))),
    "confusion": m.confusion_matrix(labels, guess, labels=range(classes)).ravel().tolist(),
    "precision": averaged(m.precision_score), "recall": averaged(m.recall_score), "f1": averaged(m.f1_score),
    "roc_auc": float(m.roc_auc_score(yes, scores)),
    "average_precision": float(m.average_precision_score(yes, scores)),
    "log_loss": float(m.log_loss(labels, softmax(logits.astype(np.float64), axis=1), labels=range(classes))),
    "perplexity_ignoring_0": float(np.exp(-log_softmax(logits.astype(np.float64), axis=1)[kept, labels[kept]].mean())),
    "mean_squared_error": float(m.mean_squared_error(targets.astype(float), predictions.astype(float))),
    "mean_absolute_error": float(m.mean_absolute_error(targets.astype(float), predictions.astype(float))),
    "r2": float(m.r2_score(targets.astype(float), predictions.astype(float))),
    "spearman": float(spearmanr(scores, labels).statistic),
}))
