"""How the synthetic logs look on disk: columns, Parquet parts, features.toml."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recfold.logs.synth.draws import bits, stream, uniform
from recfold.logs.synth.lists import Drawn, DrawnVectors, Source, drawers
from recfold.logs.synth.sessions import Samples
from recfold.logs.synth.workloads import (
    ACTION_ROWS,
    CONTENT_WIDTH,
    FIELD_DIM,
    FIELD_VOCABULARY,
    NUM_DENSE,
    NUM_ITEM_FEATURES,
    NUM_USER_FEATURES,
    VOCABULARY,
    Workload,
)

ROW_GROUP_SAMPLES = 16_384

_USER_IDS, _POSITIONS, _DELAYS = 200, 201, 202
_ODD = 0x9E3779B97F4A7C15

_SCHEMA_HEAD = [
    "# Written by `recfold synth`.",
    "version = 1",
    "infer = false",
    "",
    "[logs]",
    'impressions = "impressions/*.parquet"',
    'outcomes = "outcomes/*.parquet"',
    "",
    "[keys]",
    'request = "request_id"',
    'candidate = "candidate_id"',
    'position = "position"',
    'session = "session_id"',
    'user = "user_id"',
    'time = "timestamp"',
    "",
    "[outcomes]",
    'request = "request_id"',
    'candidate = "candidate_id"',
    'event = "event"',
    'time = "timestamp"',
    "",
    "[labels]",
    'click = { event = "click" }',
]
"""What the features.toml of every workload begins with."""


def impressions_path(folder: Path, part: int) -> Path:
    return folder / "impressions" / f"part-{part:05d}.parquet"


def outcomes_path(folder: Path, part: int) -> Path:
    return folder / "outcomes" / f"part-{part:05d}.parquet"


@dataclass(frozen=True)
class Writer:
    """Writes parts of both logs.

    Args:
        folder: of the logs.
        source: draws the features.
        raw: id-list feature -> raw id of each rank.
        users: how many users there are in the whole log.
        candidates: raw id of each item in circulation, if the workload has them.
    """

    folder: Path
    source: Source
    raw: dict[str, np.ndarray]
    users: int
    candidates: np.ndarray | None = None

    def write(self, part: int, first: int, samples: Samples, clicked: np.ndarray) -> None:
        """Write part number `part`, whose first sample is number `first` of the log; clicked: bool [B]."""
        fields = self.source.workload.fields
        lists = {} if fields else self._lists(samples)
        keys = _keys(self.source.seed, first, samples, self.users)
        dense = None if fields else self.source.dense(samples)
        content = self.source.content(samples) if self.candidates is not None else None
        if self.candidates is not None:
            keys["candidate_id"] = self.candidates[self.source.shown(samples)]
        else:
            candidate = "field_00" if fields else "item_0"
            drawn = drawers(self.source, samples)[candidate]()
            keys["candidate_id"] = self.raw[candidate][drawn.ranks[drawn.start]]
        with ExitStack() as open_files:
            writer: pq.ParquetWriter | None = None
            for rows in _row_groups(len(samples)):
                columns: dict[str, pa.Array] = {name: pa.array(column[rows]) for name, column in keys.items()}
                # nothing repeats in fields: drawn for a row group at a time, since those of a part would fill memory
                own, within = (self._lists(samples.take(rows)), slice(None)) if fields else (lists, rows)
                columns |= {name: _materialise(drawn, self.raw[name], within) for name, drawn in own.items()}
                if content is not None:
                    columns["item_content"] = _vectors(content, rows)
                if dense is not None:
                    for number in range(NUM_DENSE):
                        columns[f"dense_{number:02d}"] = pa.array(np.ascontiguousarray(dense[rows, number]))
                block = pa.table(columns)
                if writer is None:
                    path = impressions_path(self.folder, part)
                    writer = open_files.enter_context(_parquet(path, block.schema))
                writer.write_table(block)
        clicks = _clicks(self.source.seed, samples, keys, clicked)
        with _parquet(outcomes_path(self.folder, part), clicks.schema) as outcomes:
            outcomes.write_table(clicks)

    def _lists(self, samples: Samples) -> dict[str, Drawn]:
        return {name: draw() for name, draw in drawers(self.source, samples).items()}


def schema_text(workload: Workload) -> str:
    """The features.toml of a workload."""
    lines = _schema_of_fields(workload) if workload.fields else _schema_of_users_and_items(workload)
    return "\n".join([*_SCHEMA_HEAD, "", *lines]) + "\n"


def _schema_of_fields(workload: Workload) -> list[str]:
    """Features and tables."""
    names = [f"field_{feature:02d}" for feature in range(workload.fields)]
    hashed = f'transforms = [{{ op = "hash", rows = {FIELD_VOCABULARY} }}]'
    lines = ["[features]", *(f'{name} = {{ kind = "ids", group = "sample", {hashed} }}' for name in names)]
    return [*lines, "", "[tables]", *(f"{name} = {{ rows = {FIELD_VOCABULARY}, dim = {FIELD_DIM} }}" for name in names)]


def _schema_of_users_and_items(workload: Workload) -> list[str]:
    """Groups, features and tables."""
    lines = ["[groups]"]
    groups = len(workload.change)
    lines += [f'user_{_letter(group)} = {{ kind = "session" }}' for group in range(groups)]
    windows = [f"history_{_letter(window)}" for window in range(len(workload.shift))]
    lines += [f'{name} = {{ kind = "window" }}' for name in windows]
    hashed = f'{{ op = "hash", rows = {VOCABULARY} }}'
    pooled = f'transforms = [{{ op = "truncate", length = 50 }}, {hashed}]'
    if workload.items:
        lines.append('item = { kind = "dictionary", key = "item" }')
    lines += ["", "[features]"]
    for feature in range(NUM_USER_FEATURES):
        group = f"user_{_letter(feature * groups // NUM_USER_FEATURES)}"
        lines.append(f'user_{feature:02d} = {{ kind = "ids", group = "{group}", {pooled} }}')
    of_item = "item" if workload.items else "sample"
    lines += [f'item_{f} = {{ kind = "ids", group = "{of_item}", {pooled} }}' for f in range(NUM_ITEM_FEATURES)]
    if workload.items:
        lines.append(f'item_content = {{ kind = "vector", group = "item", width = {CONTENT_WIDTH} }}')
    for name in windows:
        for part, rows in (("item", VOCABULARY), ("action", ACTION_ROWS)):
            lines.append(
                f'{name}_{part} = {{ kind = "sequence", group = "{name}", table = "history_{part}", '
                f'transforms = [{{ op = "hash", rows = {rows} }}] }}'
            )
    clip = '{ op = "clip", low = -5.0, high = 5.0 }'
    lines += [
        f'dense_{n:02d} = {{ kind = "dense", group = "sample", transforms = [{clip}] }}' for n in range(NUM_DENSE)
    ]
    lines += ["", "[tables]"]
    names = [f"user_{f:02d}" for f in range(NUM_USER_FEATURES)] + [f"item_{f}" for f in range(NUM_ITEM_FEATURES)]
    lines += [f"{name} = {{ rows = {VOCABULARY}, dim = 64 }}" for name in names]
    if windows:
        lines += [f"history_item = {{ rows = {VOCABULARY}, dim = 64 }}"]
        lines += [f"history_action = {{ rows = {ACTION_ROWS}, dim = 64 }}"]
    return lines


def _letter(group: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[group]


def _keys(seed: int, first: int, samples: Samples, users: int) -> dict[str, np.ndarray]:
    person = bits(stream(seed, _USER_IDS), samples.session) % np.uint64(users)
    # multiplication by an odd number modulo 2**63 is a bijection: sessions stay apart
    session = (samples.session.view(np.uint64) * np.uint64(_ODD)) & np.uint64(0x7FFFFFFFFFFFFFFF)
    return {
        "request_id": 1_000_000_000_000 + first + np.arange(len(samples), dtype=np.int64),
        "candidate_id": np.zeros(0, dtype=np.int64),
        "position": (bits(stream(seed, _POSITIONS), samples.number) % np.uint64(10)).view(np.int64),
        "session_id": session.view(np.int64),
        "user_id": 1_000_000 + person.view(np.int64),
        "timestamp": samples.time,
    }


def _clicks(seed: int, samples: Samples, keys: dict[str, np.ndarray], clicked: np.ndarray) -> pa.Table:
    """Outcomes, a second and more after their impressions (exponential, mean 20 s), by time."""
    waited = -20e6 * np.log1p(-uniform(stream(seed, _DELAYS), samples.number[clicked]))
    time = samples.time[clicked] + 1_000_000 + waited.astype(np.int64)
    order = np.argsort(time, kind="stable")
    return pa.table(
        {
            "request_id": keys["request_id"][clicked][order],
            "candidate_id": keys["candidate_id"][clicked][order],
            "event": pa.array(["click"] * len(order), pa.string()),
            "timestamp": time[order],
        }
    )


def _materialise(drawn: Drawn, raw: np.ndarray, rows: slice) -> pa.Array:
    """The lists of some rows, repeats and all: list<int64>."""
    which = drawn.inverse[rows]
    start, length = drawn.start[which], drawn.length[which]
    offsets = np.zeros(len(which) + 1, dtype=np.int32)
    np.cumsum(length, out=offsets[1:])
    place = np.repeat(start - offsets[:-1], length) + np.arange(offsets[-1], dtype=np.int64)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(raw[drawn.ranks[place]]))


def _vectors(drawn: DrawnVectors, rows: slice) -> pa.Array:
    """The vectors of some rows, repeats and all: list<float>."""
    values = drawn.values[drawn.inverse[rows]]
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))


def _row_groups(rows: int) -> Iterator[slice]:
    for begin in range(0, rows, ROW_GROUP_SAMPLES):
        yield slice(begin, min(begin + ROW_GROUP_SAMPLES, rows))


def _parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Delta packing of integers: as small as a compressed dictionary here, at the cost of a copy."""
    encodings = {}
    for field in schema:
        if pa.types.is_list(field.type):
            if pa.types.is_integer(field.type.value_type):
                encodings[f"{field.name}.list.element"] = "DELTA_BINARY_PACKED"
        elif pa.types.is_integer(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
    return pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=False, column_encoding=encodings)
