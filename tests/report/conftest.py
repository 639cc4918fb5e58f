"""A made-up run, as the readers give it."""

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from recfold.report.facts import FoldFacts, History, RunFacts, StepPoint, ValidationPoint
from recfold.spec import Schema
from recfold.table import Accounting, FeatureInspection, GroupInspection, Inspection, Manifest, open_table
from recfold.table.inspect import SplitInspection
from recfold.train import Evaluation, RunSettings, Throughput
from recfold.train.settings import TrainSettings


def fold_facts(num_features: int) -> FoldFacts:
    kinds = ("session", "window", "dictionary (item)", "sample")
    names = ("session_group", "window_group", "dictionary_group", "sample")
    factors = (12.5, 6.25, 20.0, 1.0)
    features = tuple(
        FeatureInspection(
            name=f"feature_{i:03d}",
            kind="ids",
            group=names[i % 4],
            type="int32",
            lists=round(200_000 / factors[i % 4]),
            dedup_factor=factors[i % 4],
            values=123_456 * (1 + i % 3),
            expanded_values=round(123_456 * (1 + i % 3) * factors[i % 4]),
            distinct=1000 * i,
            bytes=1_000_003 * (1 + i * 7 % 11),
            raw_bytes=10_000_000,
        )
        for i in range(num_features)
    )
    groups = tuple(
        GroupInspection(
            name=name,
            kind=kind,
            features=tuple(f.name for f in features if f.group == name),
            lists=round(200_000 / factor),
            dedup_factor=factor,
            bytes=sum(f.bytes for f in features if f.group == name) + 1000,
            chosen=None if name == "sample" else f"expected dedup factor {factor}",
        )
        for name, kind, factor in zip(names, kinds, factors, strict=True)
    )
    splits = (
        SplitInspection("train", 180_000, 11_000, 2, 55_000_000),
        SplitInspection("validation", 20_000, 1_300, 1, 7_000_000),
    )
    inspection = Inspection(
        path=Path("folded/demo"),
        description="made-up logs",
        fold_by="session",
        samples=200_000,
        splits=splits,
        features=features,
        groups=groups,
        accounting=Accounting(
            candidate_rows_in=200_012,
            samples={"train": 180_000, "validation": 20_000},
            quarantined_candidates={"null time": 5, "duplicate": 7},
            outcomes_in=41_000,
            joined=40_900,
            quarantined_outcomes={"orphan": 80, "late": 20},
        ),
        bytes=62_000_000,
        raw_bytes=10_000_000 * num_features,
        inferred=("column 'age' (int8) -> id feature",),
        verified=False,
    )
    return FoldFacts(inspection, cut="2026-01-02 03:04:05 UTC", settings={"fold_by": "session", "window_hours": 24})


def history(num_steps: int = 60) -> History:
    return History(
        steps=tuple(
            StepPoint(
                100 * i, 0.45 + 0.3 * math.exp(-i / 8) + 0.03 * math.sin(i * 12.9898), 0.001 * min(1.0, (i + 1) / 10)
            )
            for i in range(num_steps)
        ),
        validation=tuple(
            ValidationPoint(1000 * i, "click", ne=1 - 0.08 * math.log1p(i), auc=0.55 + 0.1 * math.log1p(i))
            for i in range(6)
        ),
        events=("step 3,000: checkpoint written", "step 5,000: learning rate halved"),
    )


def metrics(**known: float | None) -> dict[str, object]:
    """Metrics of a label as JSON; those that are not given are not defined."""
    names = ("base_rate", "logloss", "ne", "auc", "auc_by_request", "auc_by_session", "calibration")
    return {"samples": 20_000, "requests": 3_000, "sessions": 1_200} | dict.fromkeys(names) | known


def evaluation() -> Evaluation:
    model = metrics(
        base_rate=0.1, ne=0.8432, auc=0.7811, auc_by_request=0.7012, auc_by_session=0.7121, calibration=1.01
    )
    popularity = metrics(
        base_rate=0.1, ne=0.93, auc=0.641, auc_by_request=0.6334, auc_by_session=0.6412, calibration=1.0
    )
    bins = [
        {"predicted": 0.05 * i, "observed": 0.05 * i * (1.1 - 0.01 * i), "num_samples": 4000 / (i + 1)}
        for i in range(10)
    ]
    label = {"model": model, "baselines": {"popularity in train": popularity}, "bins": bins}
    data = {"split": "validation", "step": 6000, "samples": 20_000, "labels": {"click": label}}
    return Evaluation.parse(data, "test")


def throughput(**samples_per_s: tuple[float, ...]) -> Throughput:
    return Throughput(
        batch_size=4096, device="cpu", threads=2, samples_per_s=samples_per_s, median_step_ms={}, ratio={}
    )


def run_facts(num_features: int = 5) -> RunFacts:
    return RunFacts(
        run="runs/demo",
        table="folded/demo",
        settings=RunSettings(train=TrainSettings(epochs=3)),
        versions={"recfold": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
        circumstances={"device": "cpu", "threads": "2"},
        history=history(),
        evaluation=evaluation(),
        throughput=throughput(
            on=(15900.0, 16000.0, 16100.0), lookups=(11000.0, 11100.0, 10900.0), off=(8000.0, 8100.0, 7900.0)
        ),
        fold=fold_facts(num_features),
    )


class Page(HTMLParser):
    """Reads a page: checks that its tags close in order, keeps tags, attributes and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def values(self, name: str) -> list[str | None]:
        """Values of an attribute, in order."""
        return [value for key, value in self.attributes if key == name]

    @property
    def words(self) -> str:
        """What a reader sees, one space between words."""
        return re.sub(r" ([.,:;])(?= |$)", r"\1", " ".join(" ".join(self.texts).split()))


@pytest.fixture
def parse() -> Callable[[str], Page]:
    """A page or a part of one, read."""
    return Page


@pytest.fixture
def make_run() -> Callable[..., RunFacts]:
    """A complete made-up run with so many features."""
    return run_facts


@pytest.fixture
def make_throughput() -> Callable[..., Throughput]:
    """Timings by mode."""
    return throughput


@pytest.fixture
def make_metrics() -> Callable[..., dict[str, object]]:
    """Metrics of a label as JSON."""
    return metrics


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    """An evaluation of labels given as JSON."""
    return lambda **labels: Evaluation.parse({"split": "validation", "step": 1, "samples": 5, "labels": labels}, "test")


def write_table(path: Path, *, samples: int = 10) -> Path:
    """A folded table's manifest (the report reads nothing else): one session group and one feature per sample."""
    schema = Schema.parse(
        {
            "keys": {"request": "r", "session": "s", "time": "t"},
            "labels": {"click": {"column": "y"}},
            "groups": {"user": {"kind": "session", "chosen": "expected dedup factor 2.5"}},
            "features": {
                "ids": {"kind": "ids", "group": "user", "type": "int32", "distinct": 30},
                "age": {"kind": "dense", "group": "sample", "type": "float"},
            },
        },
        "test",
    )
    parts = {"train": samples - 3, "validation": 3}
    splits = {
        name: {"samples": n, "units": 2, "parts": [{"file": part_file(name, n), "samples": n}]}
        for name, n in parts.items()
    }
    ids = {"lists": 2, "values": 8, "expanded_values": 20, "value_bytes": 32, "bytes": 40}
    manifest = Manifest.model_validate(
        {
            "recfold_version": "0.1.0",
            "schema": schema.model_dump(),
            "hashes": {},
            "fold_by": "session",
            "cut": 5_000_001,
            "splits": splits,
            "features": {
                "ids": {"train": ids, "validation": ids},
                "age": {
                    name: {"lists": n, "values": n, "expanded_values": n, "value_bytes": 4 * n, "bytes": 4 * n}
                    for name, n in parts.items()
                },
            },
            "groups": {"user": {name: {"lists": 2, "index_bytes": 10} for name in parts}},
            "accounting": {
                "candidate_rows_in": samples + 2,
                "samples": parts,
                "quarantined_candidates": {"null time": 2},
            },
            "settings": {"fold_by": "session"},
        }
    )
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return path


def part_file(split: str, rows: int) -> dict[str, object]:
    return {"path": f"{split}/part-00000.parquet", "bytes": 100, "rows": rows, "xxh64": "0" * 16}


@pytest.fixture
def make_table() -> Callable[..., Path]:
    """Writes a table's manifest at a path."""
    return write_table


@pytest.fixture
def table_folder(tmp_path: Path) -> Path:
    """A folded table of 10 samples."""
    return write_table(tmp_path / "table")


@pytest.fixture
def run_folder(tmp_path: Path, table_folder: Path) -> Path:
    """A run on `table_folder`, as train writes it."""
    table = open_table(table_folder)
    journal: list[dict[str, object]] = [
        {
            "kind": "start",
            "step": 0,
            "table": str(table_folder),
            "settings": {},
            "versions": {"torch": "2.13.0"},
            "device": "cpu",
            "threads": 2,
            "kernels": {"ids": "torch"},
        },
        {"kind": "step", "step": 20, "loss": 0.6, "lr": 0.001},
        {"kind": "step", "step": 40, "loss": 0.5, "lr": 0.001},
    ]
    files = {
        "run.json": {
            "format_version": 1,
            "recfold_version": "0.1.0",
            "table": str(table_folder),
            "table_checksum": table.manifest.checksum,
        },
        "settings.json": RunSettings(train=TrainSettings(epochs=3)).model_dump(mode="json"),
        "schema.json": table.schema.with_default_hashes().model_dump(mode="json"),
        "evaluation.json": {
            "split": "validation",
            "step": 40,
            "samples": 3,
            "labels": {"click": {"model": metrics(auc=0.7)}},
        },
        "throughput.json": throughput(on=(2.0,), off=(1.0,)).model_dump(mode="json"),
    }
    run = tmp_path / "run"
    run.mkdir()
    for name, data in files.items():
        (run / name).write_text(json.dumps(data), encoding="utf-8")
    (run / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in journal), encoding="utf-8")
    return run
