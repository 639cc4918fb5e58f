"""Generated logs, folded and trained: the three ways agree on the standard workloads, in a small form."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recfold.fold import fold
from recfold.logs import synth
from recfold.train import RunSettings
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.scores import reader_of


@pytest.mark.parametrize(
    ("workload", "model", "samples"),
    [("pooled", "dlrm", 1000), ("catalog", "dlrm", 600), ("catalog", "deepfm", 600), ("sequence", "sequence", 300)],
)
def test_the_three_ways_agree(
    settings: Callable[..., RunSettings], tmp_path: Path, workload: str, model: str, samples: int
) -> None:
    synth(tmp_path / "logs", workload=workload, samples=samples)
    features = tmp_path / "logs" / "features.toml"
    features.write_text(features.read_text().replace("rows = 200000", "rows = 300"))
    table = fold(tmp_path / "logs", tmp_path / "table")
    own = settings("train.dtype=float64", "train.batch_size=90", "tables.dim=4", model=model)
    schema = run_schema(table.schema, None, own.tables)
    learners = [
        Learner(schema, settings(f"train.fold={way}", "train.dtype=float64", "tables.dim=4", model=model))
        for way in ("on", "lookups", "off")
    ]
    folded = 0
    with reader_of(table, "train", schema, own, order="shuffle") as reader:
        for batch in reader:
            losses = [learner.step(batch).loss for learner in learners]
            assert max(losses) - min(losses) < 1e-12 * max(losses)
            folded += sum(group.num_distinct < batch.num_samples for group in batch.groups.values())
    assert folded > 0
    first = learners[0].assembled.tables.state()
    for other in learners[1:]:
        for name, weight in other.assembled.tables.state().items():
            assert float((weight - first[name]).abs().max()) <= 1e-12 * float(first[name].abs().max())
        for name, weight in other.model.state_dict().items():
            torch.testing.assert_close(weight, learners[0].model.state_dict()[name], rtol=1e-11, atol=1e-12)
