"""The manifest of a folded table: what is in it, how it was made, and the checksum of every file."""

import json
from pathlib import Path
from typing import Any, Literal

import xxhash
from pydantic import Field, ValidationError, field_serializer, field_validator

from recfold.spec import InputError, Schema, Settings

FORMAT_VERSION: Literal[2] = 2
MANIFEST = "manifest.json"


class FileEntry(Settings):
    """One Parquet file: path below the table, size in bytes, rows, and the xxh64 of its bytes (16 hex digits)."""

    path: str
    bytes: int
    rows: int
    xxh64: str


class PartEntry(Settings):
    """One part of a split and the user dictionaries that belong to it.

    Args:
        coded: features whose ids are written as the split's codes.
    """

    file: FileEntry
    samples: int
    dictionaries: dict[str, FileEntry] = Field(default_factory=dict)
    coded: tuple[str, ...] = ()


class SplitEntry(Settings):
    """One split.

    Args:
        dictionaries: its item dictionaries: the files whose rows follow each other, one for each day that added some.
        distinct: the number of lists that each group stores.
        codes: the file that says which ids have which codes; None where no part has codes.
    """

    samples: int
    units: int
    parts: tuple[PartEntry, ...]
    codes: FileEntry | None = None
    dictionaries: dict[str, tuple[FileEntry, ...]] = Field(default_factory=dict)
    distinct: dict[str, int] = Field(default_factory=dict)

    @field_validator("dictionaries", mode="before")
    @classmethod
    def _one_file(cls, found: Any) -> Any:
        """A dictionary of one file may be written as that file."""
        if not isinstance(found, dict):
            return found
        return {group: (entry,) if isinstance(entry, dict | FileEntry) else entry for group, entry in found.items()}

    @field_serializer("dictionaries")
    def _shortest(self, found: dict[str, tuple[FileEntry, ...]]) -> dict[str, Any]:
        dumped = {group: [entry.model_dump(mode="json") for entry in files] for group, files in found.items()}
        return {group: files[0] if len(files) == 1 else files for group, files in dumped.items()}


class FeatureStats(Settings):
    """How one feature is stored in one split.

    Args:
        lists: stored lists (a scalar counts as a list of one).
        values: stored elements.
        expanded_values: elements if every sample had its own copy.
        value_bytes: bytes of the stored elements in memory, weights included.
        bytes: compressed bytes on disk, weights included, the group's inverse excluded.
    """

    lists: int
    values: int
    expanded_values: int
    value_bytes: int
    bytes: int


class GroupStats(Settings):
    """How one group is stored in one split; `index_bytes` are the compressed bytes of inverse, start and length."""

    lists: int
    index_bytes: int


class Form(Settings):
    """One way to store some features, estimated from a sample before the fold.

    Args:
        kind: `sample` for once per sample, or a kind of group. key: of a dictionary.
        dedup_factor: expected samples per stored list; of a window group: expanded values per stored value.
        bytes_per_sample: expected bytes before compression: values, list lengths and indexes.
    """

    kind: Literal["sample", "session", "window", "dictionary"]
    key: Literal["user", "item"] | None = None
    dedup_factor: float
    bytes_per_sample: float


class Weighed(Settings):
    """What a group, or a feature that is stored per sample, was weighed against.

    Args:
        group: the group; 'sample' for a feature that is stored per sample.
        features: of the group, or the one.
        forms: those that are possible; the first is the stored one.
        chosen: why the fold chose it; None where the schema says it.
    """

    group: str
    features: tuple[str, ...]
    forms: tuple[Form, ...]
    chosen: str | None = None


class Accounting(Settings):
    """Where every input row went.

        candidate_rows_in = sum(samples) + sum(quarantined_candidates)
        outcomes_in       = joined       + sum(quarantined_outcomes)

    Example:
        >>> Accounting(candidate_rows_in=3, samples={"train": 2}, quarantined_candidates={"null time": 1}).check()
    """

    candidate_rows_in: int
    samples: dict[str, int]
    quarantined_candidates: dict[str, int] = Field(default_factory=dict)
    outcomes_in: int = 0
    joined: int = 0
    quarantined_outcomes: dict[str, int] = Field(default_factory=dict)
    quarantined_sides: dict[str, int] = Field(default_factory=dict)

    def check(self) -> None:
        """Raises:
        RuntimeError: one of the two equations does not hold.
        """
        samples, rejected = sum(self.samples.values()), sum(self.quarantined_candidates.values())
        if self.candidate_rows_in != samples + rejected:
            raise RuntimeError(
                f"the accounting is wrong: {self.candidate_rows_in} candidate rows came in, but there are "
                f"{samples} samples and {rejected} rows in quarantine"
            )
        rejected = sum(self.quarantined_outcomes.values())
        if self.outcomes_in != self.joined + rejected:
            raise RuntimeError(
                f"the accounting is wrong: {self.outcomes_in} outcomes came in, but {self.joined} joined and "
                f"{rejected} are in quarantine"
            )


class Appended(Settings):
    """One day (or any other log) that was added to a table after its first fold.

    Args:
        digest: as in `Manifest`, of its own impressions.
        cut: time (µs) from which on its samples are validation.
        samples: split -> samples that it added.
        changes: what it changed about the schema, in lines.
    """

    description: str
    digest: str
    cut: int | None
    samples: dict[str, int]
    changes: tuple[str, ...] = ()


class Manifest(Settings):
    """Everything that `manifest.json` says; no clock times and no absolute paths, so that reruns are byte-equal.

    Args:
        log_schema: the schema as the fold resolved it (`schema` in the file).
        fold_by: the unit whose samples form a row.
        cut: time (µs) from which on samples are validation; None where the logs have a split column or nothing is cut.
        sketches: file that tells how many distinct ids a feature has once more samples are added.
        columns: name -> type of all columns of the parts, where days were added whose parts are different.
        appended: what was added, in order.
        digest: of the requests and times of all impressions of the first fold, in any order.
        weighed: what each choice of a group was weighed against; empty in tables that were folded without.
        settings: the fold's settings, without those that change no byte.
        checksum: xxh64 of this file without this entry.
    """

    format_version: Literal[1, 2] = FORMAT_VERSION
    recfold_version: str
    log_schema: Schema = Field(alias="schema")
    hashes: dict[str, str]
    description: str = ""
    inferred: tuple[str, ...] = ()
    fold_by: Literal["session", "request", "user"]
    cut: int | None = None
    splits: dict[str, SplitEntry]
    features: dict[str, dict[str, FeatureStats]] = Field(default_factory=dict)
    groups: dict[str, dict[str, GroupStats]] = Field(default_factory=dict)
    weighed: tuple[Weighed, ...] = ()
    quarantine: tuple[FileEntry, ...] = ()
    sketches: FileEntry | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    appended: tuple[Appended, ...] = ()
    digest: str = ""
    accounting: Accounting
    settings: dict[str, Any] = Field(default_factory=dict)
    checksum: str = ""

    def files(self) -> tuple[FileEntry, ...]:
        """Every file of the table, in a fixed order."""
        found: list[FileEntry] = []
        for split in self.splits.values():
            for part in split.parts:
                found += [part.file, *part.dictionaries.values()]
            found += (entry for entries in split.dictionaries.values() for entry in entries)
            found += [] if split.codes is None else [split.codes]
        return (*found, *self.quarantine, *([self.sketches] if self.sketches is not None else []))

    def to_json(self) -> str:
        """The text of `manifest.json`, checksum filled in."""
        data = self.model_dump(mode="json", by_alias=True)
        if not data["weighed"]:
            del data["weighed"]  # as in tables from before there was one
        data["checksum"] = checksum_of(data)
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def checksum_of(data: dict[str, Any]) -> str:
    """xxh64 of a manifest without its `checksum`, in canonical JSON."""
    rest = {key: value for key, value in data.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh64_hexdigest(text.encode("utf-8", "surrogatepass"))


def load_manifest(table: Path) -> Manifest:
    """Read and check `manifest.json`.

    Raises:
        InputError: it is missing, of a newer format, not JSON, damaged, or not a manifest.
    """
    path = table / MANIFEST
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        what = "has no manifest.json" if table.is_dir() else "does not exist"
        raise InputError(
            f"{table} {what}", expected="a folded table", todo="fold the logs first: recfold fold LOGS --out DIR"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}", got=str(error), todo="fold again") from None
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is damaged: not JSON", got=str(error), todo="fold again") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path} is not a manifest of recfold", got="no format_version", todo="fold again")
    if version > FORMAT_VERSION:
        raise InputError(
            f"{table} was folded by recfold {data.get('recfold_version', '?')} in format version {version}",
            expected=f"format version {FORMAT_VERSION} or older",
            todo="upgrade recfold or fold again",
        )
    if data.get("checksum") != checksum_of(data):
        raise InputError(
            f"{path} is damaged or was edited",
            got=f"checksum {checksum_of(data)}",
            expected=str(data.get("checksum")),
            todo="fold again",
        )
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise InputError(
            f"{path} is not a manifest of recfold", got=str(error.errors()[0]), todo="fold again"
        ) from None
