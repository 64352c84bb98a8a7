"""Makes the Parquet files of tests/parquet.rs with pyarrow, one for each codec. Run once: python parquet.py"""

import datetime
import pyarrow as pa
import pyarrow.parquet as pq

when = [datetime.datetime.fromtimestamp(t, datetime.timezone.utc) for t in [100, 99, 98, 102, 103]]
table = pa.table(
    {
        "title": pa.array(["a", "b", "c", "d", "e"]),
        "user": pa.array([1, 2, None, 1, 3], pa.int64()),
        "item": pa.array(["tea", "tea", "milk", "müsli", "milk"]),
        "stars": pa.array([4.0, 3.5, 2.0, 5.0, float("nan")], pa.float32()),
        "seconds": pa.array([100, 99, 98, 102, 103], pa.int32()),
        "when": pa.array(when, pa.timestamp("us", tz="UTC")),
        "nested": pa.array([[1], [2, 3], [], None, [4]]),
    }
)
for codec in ["none", "snappy", "zstd", "gzip", "lz4", "brotli"]:
    pq.write_table(table, f"log_{codec}.parquet", compression=codec, row_group_size=2)
