"""Rows to their partitions: what the scan spooled meets what pass 1 found out about every row."""

import numpy as np
import pyarrow as pa

from recfold.fold.assign import Assigned
from recfold.fold.buckets import Buckets, read_arrow
from recfold.fold.columns import cast_column
from recfold.fold.job import Job
from recfold.fold.scan import Scan
from recfold.fold.threads import each
from recfold.table.lists import one_array


def scatter(scan: Scan, assigned: Assigned, job: Job, num_parts: int) -> Buckets:
    """Send every sample to its partition and every other row to quarantine.

    Returns:
        samples by partition: canonical columns in their final types, labels, `split` (0 train, 1 validation), `row`.
    """
    parts = Buckets(job.work / "parts", num_parts, job.memory_bytes // 4)
    types = scan.types()
    done = 0
    for index, group in enumerate(assigned.groups):
        fates = assigned.rows.read(index)
        assert fates is not None
        fates = fates.take(pa.array(np.argsort(one_array(fates["row"]).to_numpy(), kind="stable")))
        first = scan.starts[group.start]
        for number in group:
            begin, end = scan.starts[number], scan.starts[number + 1]
            fate = fates.slice(begin - first, end - begin).combine_chunks()
            wide = _final(read_arrow(scan.pieces[number]), types, fate)
            part = one_array(fate["part"]).to_numpy()
            rejected = np.flatnonzero(part < 0)
            if len(rejected):
                content = wide.take(pa.array(rejected)).drop_columns(["split", "row"])
                reasons = one_array(fate["reason"].take(pa.array(rejected)))
                job.quarantine.reject("impressions", content, reasons)
                kept = np.flatnonzero(part >= 0)
                wide, part, fate = wide.take(pa.array(kept)), part[kept], fate.take(pa.array(kept))
            parts.add(wide, part)
            scan.pieces[number].unlink()
            done += end - begin
            job.report("partition", done, scan.num_rows)
    return parts


def _final(piece: pa.Table, types: dict[str, pa.DataType], fate: pa.Table) -> pa.Table:
    """A piece in the table's types, with the labels that came from outcomes."""
    cast = each(lambda name: cast_column(one_array(piece[name]), types[name]), types)
    columns = dict(zip(types, cast, strict=True))
    columns |= {name: one_array(fate[name]) for name in fate.column_names if name.startswith("label.")}
    return pa.table({**columns, "split": one_array(fate["split"]), "row": one_array(fate["row"])})
