"""Folded tables that the tests of the whole road share: generated ones, slices of real logs, and a log of our own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import recfold
from recfold.spec import apply_overrides
from recfold.table import FoldedTable
from recfold.train import RunSettings

ITEMS = 40
SCHEMA = """
[keys]
request = "request"
candidate = "item"
session = "session"
user = "user"
time = "time"

[labels.click]
column = "click"

[groups.profile]
kind = "session"
[groups.history]
kind = "window"
[groups.candidate]
kind = "dictionary"
key = "item"

[features]
tags = { kind = "ids", group = "profile" }
age = { kind = "dense", group = "profile" }
seen = { kind = "sequence", group = "history", table = "item" }
dwell = { kind = "dense_sequence", group = "history" }
like = { kind = "ids", column = "alike", group = "candidate", table = "item" }
item = { kind = "id", group = "sample", table = "item" }
price = { kind = "dense", group = "sample" }
"""


def write_own_logs(out: Path, *, sessions: int = 60, seed: int = 0) -> Path:
    """Joined logs; their item table is read by a growing history, an item dictionary and each sample's candidate."""
    rng = np.random.default_rng(seed)
    alike = [rng.integers(0, ITEMS, rng.integers(0, 4)).tolist() for _ in range(ITEMS)]
    rows: list[dict[str, Any]] = []
    for session in range(sessions):
        seen = rng.integers(0, ITEMS, rng.integers(0, 6)).tolist()
        dwell = rng.normal(size=len(seen)).tolist()
        tags, age = rng.integers(0, 25, rng.integers(0, 4)).tolist(), float(rng.normal())
        for number in range(int(rng.integers(1, 14))):
            item = int(rng.integers(0, ITEMS))
            pleased = 1 / (1 + np.exp(-(2 * np.sin(item) + 0.5 * age + 1.0 * (item in seen))))
            rows.append(
                {
                    "request": session * 20 + number,
                    "item": item,
                    "session": session,
                    "user": session % 17,
                    "time": session * 1000 + number,
                    "click": float(rng.random() < pleased),
                    "tags": tags,
                    "age": age,
                    "seen": list(seen),
                    "dwell": list(dwell),
                    "alike": alike[item],
                    "price": float(rng.normal()),
                }
            )
            if rng.random() < 0.4:
                seen, dwell = [*seen, item], [*dwell, float(rng.normal())]
    (out / "impressions").mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(out / "impressions" / "part-0.parquet")
    (out / "features.toml").write_text(SCHEMA, encoding="utf-8")
    return out


@pytest.fixture(scope="session")
def own_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own_logs(tmp_path_factory.mktemp("own") / "logs")


@pytest.fixture(scope="session")
def write_logs() -> Callable[..., Path]:
    """The function that writes our own logs: `write_logs(folder, seed=1)`."""
    return write_own_logs


@pytest.fixture(scope="session")
def own_table(own_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    return recfold.fold(own_logs, tmp_path_factory.mktemp("own") / "table")


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], FoldedTable]:
    """The function that generates and folds a workload, once a session, with small embedding tables."""
    made: dict[tuple[str, int], FoldedTable] = {}

    def make(workload: str, samples: int) -> FoldedTable:
        if (workload, samples) not in made:
            folder = tmp_path_factory.mktemp(workload)
            recfold.synth(folder / "logs", workload=workload, samples=samples)
            schema = folder / "logs" / "features.toml"
            text = schema.read_text(encoding="utf-8")
            schema.write_text(text.replace("rows = 200000", "rows = 2000").replace("dim = 64", "dim = 8"), "utf-8")
            made[workload, samples] = recfold.fold(folder / "logs", folder / "table")
        return made[workload, samples]

    return make


@pytest.fixture(scope="session")
def movielens(real_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    """ml-100k, folded."""
    return recfold.fold(real_logs / "ml-100k", tmp_path_factory.mktemp("movielens") / "table", adapter="movielens")


@pytest.fixture(scope="session")
def ebnerd_slice(real_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    """The first impressions of both splits of EB-NeRD, with the histories of their users, folded."""
    folder = tmp_path_factory.mktemp("ebnerd")
    for split in ("train", "validation"):
        source, target = real_logs / "ebnerd_demo" / split, folder / "logs" / split
        target.mkdir(parents=True)
        behaviors = pl.read_parquet(source / "behaviors.parquet").sort("impression_time").head(1500)
        behaviors.write_parquet(target / "behaviors.parquet")
        histories = pl.read_parquet(source / "history.parquet")
        histories.join(behaviors, on="user_id", how="semi").write_parquet(target / "history.parquet")
    table = recfold.fold(folder / "logs", folder / "table", adapter="ebnerd")
    shutil.rmtree(folder / "logs")
    return table


def make_settings(*changes: str) -> RunSettings:
    """Settings of a short run in this process, without timing; `changes` as for --set."""
    short = ["train.batch_size=64", "train.throughput_steps=0", "train.device=cpu", "reader.workers=0"]
    return apply_overrides(RunSettings(), [*short, *changes])


@pytest.fixture(scope="session")
def settings() -> Callable[..., RunSettings]:
    """The function that makes settings: `settings("train.epochs=2")`."""
    return make_settings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
