"""Sessions of one sample and of 100,000."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recfold.fold import FoldSettings, fold
from recfold.logs import REJECTED, Chunk, LogSource
from recfold.reader import Reader, ReaderSettings
from recfold.spec import Schema

LONG = 100_000
SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "session": "s", "user": "u", "time": "t"},
    "labels": {"y": {"column": "y"}},
    "features": {
        "history": {"kind": "sequence", "group": "history"},
        "context": {"kind": "ids", "group": "context"},
        "own": {"kind": "id", "group": "sample"},
    },
    "groups": {"history": {"kind": "window"}, "context": {"kind": "session"}},
}


def lists(starts: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """List k is starts[k], starts[k] + 1, ..."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))


@pytest.mark.parametrize("memory_gb", [4.0, 0.01])
def test_a_session_of_a_hundred_thousand_samples_next_to_sessions_of_one(tmp_path: Path, memory_gb: float) -> None:
    count = LONG + 50
    number = np.arange(count)
    rows = pa.table(
        {
            "request": number,
            "session": np.where(number < LONG, 7, number),
            "user": np.where(number < LONG, 1, number),
            "time": number,
            "label.y": (number % 3 == 0).astype(np.float32),
            "feature.history": lists(number // 2, np.full(count, 9)),
            "feature.context": lists(number // 1000, number // 1000 % 4),
            "feature.own": number * 11,
        }
    )

    def chunks() -> Any:
        for begin in range(0, count, 30_000):
            yield Chunk(rows.slice(begin, 30_000), REJECTED.empty_table())

    source = LogSource(Schema.parse(SCHEMA, "here"), chunks, None, {}, (), "a long session")
    table = fold(source, tmp_path / "table", settings=FoldSettings(split_time=0, workers=1, memory_gb=memory_gb))
    entry = table.manifest.splits["train"]
    assert (entry.units, entry.samples) == (51, count)
    assert entry.distinct == {"history": LONG // 2 + 50, "context": LONG // 1000 + 50}
    expanded = pa.concat_tables(table.expand()).sort_by("request")
    for name in rows.column_names:
        assert expanded[name].combine_chunks().equals(rows[name].combine_chunks()), name
    with Reader(table, "train", ReaderSettings(batch_size=4096, order="time", workers=0)) as reader:
        read = np.concatenate([batch.keys["request"].numpy() for batch in reader])
    assert sorted(read.tolist()) == number.tolist()
