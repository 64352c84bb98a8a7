"""Reads what `examples/callbacks.rs` wrote for TensorBoard with TensorBoard's own reader, and compares it with the CSV file.

    cargo run --release -p cairn-optim --example callbacks -- FOLDER && python optim/examples/check_tensorboard.py FOLDER

Needs tensorboard. Exits 1 unless every value of every epoch is there, equal to single precision.
"""

import csv
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = Path(sys.argv[1])
events = EventAccumulator(str(folder / "board")).Reload()
rows = list(csv.DictReader((folder / "log.csv").open()))
tags = [name for name in rows[0] if name not in ("epoch", "seconds")]
assert set(tags) <= set(events.Tags()["scalars"]), events.Tags()
for tag in tags:
    scalars = events.Scalars(tag)
    assert len(scalars) == len(rows) > 0, (tag, len(scalars), len(rows))
    for scalar, row in zip(scalars, rows):
        assert scalar.step == int(row["epoch"]), (tag, scalar, row)
        assert abs(scalar.value - float(row[tag])) <= 1e-6 * max(1, abs(scalar.value)), (tag, scalar, row)
print(f"{len(rows)} epochs of {', '.join(events.Tags()['scalars'])}")
