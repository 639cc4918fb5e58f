"""Before the first step every rank says what it is about to train; ranks that differ do not start."""

import hashlib
import json
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import recfold
from recfold.spec import InputError, Plan, Schema
from recfold.table import FoldedTable
from recfold.train.ranks import OtherRankFailed, Ranks
from recfold.train.settings import RunSettings, setting_leaves

PACKAGES = ("torch", "numpy", "pyarrow", "fbgemm-gpu-cpu", "fbgemm-gpu", "safetensors")


class Started(Protocol):
    """What a run is to be."""

    @property
    def table(self) -> FoldedTable: ...

    @property
    def schema(self) -> Schema: ...

    @property
    def settings(self) -> RunSettings: ...

    @property
    def plan(self) -> Plan: ...


def agree(ranks: Ranks, start: Started) -> str:
    """Compare what all ranks are about to train.

    Returns:
        A name for this start of the job, the same on every rank and new every time.
    Raises:
        InputError: on rank 0, where they differ: the first rank that does and in what.
        OtherRankFailed: on the other ranks then.
    """
    job = ranks.first(os.urandom(4).hex())
    if ranks.size == 1:
        return job
    every = ranks.gather(own_facts(start))
    for rank, facts in enumerate(every):
        found = difference(every[0], facts)
        if found is not None and ranks.is_first:
            what, first, other = found
            raise InputError(
                f"rank {rank} has another {what} than rank 0",
                got=other,
                expected=first,
                todo="start every rank with the same command, table and installation",
            )
        if found is not None:
            raise OtherRankFailed(f"rank {rank} differs")
    return job


def own_facts(start: Started) -> dict[str, str]:
    """Noun -> what this rank has of it; what is long, as a digest."""
    return {
        "recfold version": recfold.__version__,
        "code (digest of its files)": code_digest(),
        **{f"version of {name}": _version(name) for name in PACKAGES},
        "table (checksum of its manifest)": start.table.manifest.checksum,
        "schema (digest)": _digest(start.schema.model_dump(mode="json")),
        **{
            f"setting {key}": json.dumps(value)
            for key, value in setting_leaves(start.settings.model_dump(mode="json")).items()
        },
        "plan (digest)": _digest(start.plan.model_dump(mode="json")),
    }


def difference(first: dict[str, str], other: dict[str, str]) -> tuple[str, str, str] | None:
    """The first noun in which two ranks differ, with what each has.

    >>> difference({"version of torch": "2.12"}, {"version of torch": "2.13"})
    ('version of torch', '2.12', '2.13')
    """
    for what in [*first, *(other.keys() - first.keys())]:
        if first.get(what) != other.get(what):
            return what, first.get(what, "nothing"), other.get(what, "nothing")
    return None


@cache
def code_digest() -> str:
    """Digest of the source files of recfold, as they are on this machine's disk."""
    root = Path(recfold.__file__).parent
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
