"""Partitions too large to fold in memory, because of one user or of a few, are parted again, between sessions."""

from pathlib import Path

import numpy as np

from recfold.fold.bits import element_hash
from recfold.fold.buckets import Buckets, read_arrow
from recfold.fold.job import Job
from recfold.table.lists import one_array

_SEED = 3


def split_large(parts: Buckets, row_bytes: float, limit_bytes: int, job: Job) -> list[tuple[Path, ...]]:
    """The files of every partition; one that is larger than the limit becomes several.

    No unit is cut. A user's sessions may part, and then each part stores the user's dictionary rows; samples of a user
    without a session id stay together, and everything does where the unit is the user.

    Args:
        row_bytes: about how large a sample is in memory.
    """
    found = []
    for number in np.flatnonzero(parts.rows).tolist():
        files = parts.files(number)
        pieces = int(parts.rows[number] * row_bytes // max(limit_bytes, 1)) + 1
        if pieces == 1 or job.settings.fold_by == "user":
            found.append(tuple(files))
            continue
        smaller = Buckets(job.work / f"part-{number}", pieces, job.memory_bytes // 4)
        for path in files:
            rows = read_arrow(path)
            hashes = np.zeros(rows.num_rows, np.uint64)
            in_session = np.zeros(rows.num_rows, bool)
            for key in ("user", "session"):  # the session where there is one, else the user
                if key in rows.column_names:
                    column = one_array(rows[key])
                    in_session = column.is_valid().to_numpy(zero_copy_only=False)
                    hashes = np.where(in_session, element_hash(column, _SEED), hashes)
            if job.settings.fold_by == "request" and "session" in rows.column_names:
                # visits of a user without session ids are told apart by pauses, so they stay together
                hashes = np.where(in_session, element_hash(one_array(rows["request"]), _SEED), hashes)
            smaller.add(rows, (hashes % np.uint64(pieces)).astype(np.int64))
            path.unlink()
        found += [tuple(smaller.files(index)) for index in np.flatnonzero(smaller.rows).tolist()]
    return found
