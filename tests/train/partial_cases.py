"""What each rank of `test_partial.py` runs: every case in one start of the processes. Run as a program:

python partial_cases.py RANK RANKS FOLDER EVERY    writes FOLDER/failures-RANK.json: case -> what went wrong

Every EVERYth case of (model x placement x update rule), on the folded tables FOLDER/one and FOLDER/two, of one and of
two labels.
"""

import itertools
import json
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from recfold.batch import Batch
from recfold.spec import InputError, Plan, Topology, apply_overrides, column_wise, replicated, row_wise, table_wise
from recfold.table import open_table
from recfold.train import RunSettings
from recfold.train.assemble import lists_of, table_sizes
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.ranks import Ranks, current_ranks
from recfold.train.scores import ids_per_list, reader_of

STEPS, TOLERANCE = 20, 1e-9
MODELS = {
    "lr": ("lr", {}),
    "fm of fields": ("fm", {}),
    "fm of ids": ("fm", {"pairs": "ids"}),
    "wide-deep": ("wide-deep", {"deep": [6, 4]}),
    "wide-deep with towers": ("wide-deep", {"deep": [6], "towers": [3]}),
    "deepfm of fields": ("deepfm", {"deep": [6]}),
    "deepfm of ids": ("deepfm", {"deep": [6], "pairs": "ids"}),
    "deepfm of experts": ("deepfm", {"deep": [6], "head": "mmoe", "experts": 2}),
    "dcn": ("dcn", {"deep": [6], "cross": 2}),
}
PLACED = (("table",), ("row",), ("column",), ("row", "replicated", "table", "column"))
RULES = ("sgd", "rowwise_adagrad", "adam")
LINEAR = tuple(name for name in MODELS if name != "dcn")


@dataclass(frozen=True)
class Case:
    """A model on a plan; `labels` names the folded table."""

    model: str
    placed: tuple[str, ...]
    rule: str
    labels: str
    changes: tuple[str, ...] = ()

    def settings(self, partial: str) -> RunSettings:
        name, options = MODELS[self.model]
        changes = [
            f"model.name={name}",
            f"model.options={json.dumps(options)}",
            f"tables.optimizer={self.rule}",
            f"ranks.partial={partial}",
            "tables.dim=8",
            "tables.learning_rate=0.05",
            "tables.kernel=torch",
            "train.dtype=float64",
            "train.device=cpu",
            "train.batch_size=24",
            "reader.workers=0",
            "reader.block_samples=64",
        ]
        return apply_overrides(RunSettings(), [*changes, *self.changes])

    def plan(self, ranks: int, schema: Any, settings: RunSettings) -> Plan:
        make = {
            "row": lambda rows, dim: row_wise(rows, dim, ranks=range(ranks)),
            "column": lambda rows, dim: column_wise(rows, dim, ranks=range(min(ranks, dim))),
            "replicated": replicated,
        }
        placed = {}
        for number, (name, size) in enumerate(table_sizes(schema, settings).items()):
            kind = self.placed[number % len(self.placed)]
            rank = number % ranks
            found = table_wise(size.rows, size.dim, rank=rank) if kind == "table" else make[kind](size.rows, size.dim)
            placed[name] = found
        return Plan(topology=Topology(ranks=ranks), tables=placed)


def cases(every: int) -> list[Case]:
    """One of two labels at a time: a model of one label adds squares over columns."""
    product = itertools.product(MODELS, PLACED, RULES)
    return [
        Case(model, placed, rule, ("one", "two")[number % 2], ("train.fold=lookups",) if number % 5 == 4 else ())
        for number, (model, placed, rule) in enumerate(product)
        if number % every == 0
    ]


@cache
def batches_of(folder: Path, labels: str, ranks: int) -> list[list[Batch]]:
    """[step][rank] batches; ranks have different numbers of samples, at some steps none."""
    table, settings = open_table(folder / labels), Case("lr", (), "sgd", labels).settings("off")
    schema = run_schema(table.schema, None, settings.tables)
    every = []
    for rank in range(ranks):
        with reader_of(table, "train", schema, settings, order="time", ranks=Ranks(rank, ranks)) as reader:
            every.append([batch.slice(0, max(batch.num_samples - 3 * rank, 0)) for batch in reader.lockstep()])
    steps = [list(own) for own in zip(*every, strict=True) if any(batch.num_samples for batch in own)]
    return [steps[number % len(steps)] for number in range(STEPS)]


def trains_alike(case: Case, folder: Path) -> None:
    """Partial results on: loss, predictions, weights and optimizer state of one process, and exactly counted bytes."""
    ranks, table = current_ranks(), open_table(folder / case.labels)
    settings = case.settings("on" if _has_sums(case) else "auto")
    schema = run_schema(table.schema, None, settings.tables)
    learner = Learner(schema, settings, plan=case.plan(ranks.size, schema, settings), ranks=ranks)
    alone = Learner(schema, case.settings("auto" if case.model == "dcn" else "on"))
    assert bool(learner.assembled.partial.sums) == _has_sums(case), learner.assembled.partial.notes
    assert learner.traffic is not None
    before = learner.traffic.so_far()
    for number, batches in enumerate(batches_of(folder, case.labels, ranks.size)):
        one, own = Batch.concat([batch for batch in batches if batch.num_samples]), batches[ranks.rank]
        _same(learner.step(own).loss, alone.step(one).loss, f"loss of step {number}")
        so_far = learner.traffic.so_far()
        sent, before = so_far.since(before).sent_bytes, so_far
        if learner.assembled.partial.sums and case.placed in (("table",), ("row",)):
            most = _expected_bytes(learner, batches, ranks.rank)
            assert (sent.get("vectors", 0), sent.get("gradients", 0)) == most, f"step {number}: {sent}"
        if number % 7 == 0:
            _same(learner.score(own), _own_part(alone.score(one), batches, ranks.rank), "predictions")
    for name, tensor in alone.model.state_dict().items():
        _same(learner.model.state_dict()[name], tensor, name)
    for number, kept in alone.optimizer.state_dict()["state"].items():
        for name, tensor in kept.items():
            _same(learner.optimizer.state_dict()["state"][number][name], tensor, f"{name} of {number}")
    state = alone.assembled.tables.state()
    for shard in learner.assembled.tables.shards():  # type: ignore[attr-defined]
        for name, tensor in shard.tensors.items():
            part = tuple([slice(*shard.rows), slice(*shard.columns)][: tensor.dim()])
            _same(tensor, state[f"{shard.table}.{name}"][part], f"{name} of {shard.name}")


def _has_sums(case: Case) -> bool:
    """Which cases have something to add up: pairs of fields need tables that are not cut by rows, weights do not."""
    return case.model != "dcn"


def _expected_bytes(learner: Learner, batches: list[Batch], rank: int) -> tuple[int, int]:
    """Bytes of vectors that a rank sends for others, and of gradients that it sends to them, if only sums travel."""
    plan = learner.plan
    assert plan is not None
    table_of = {read.feature: read.table for read in learner.assembled.reads}
    summed = {name for own in learner.assembled.partial.sums for name in own.field_sum.features}
    vectors = gradients = 0
    for other, batch in enumerate(batches):
        lists = lists_of(batch)
        for target in range(len(batches)):
            sent = 0
            for own in learner.assembled.partial.sums:
                held = any(
                    shard.rank == target
                    for name in own.field_sum.features
                    for shard in plan.tables[table_of[name]].shards
                )
                width = sum(own.field_sum.width(name, 8 if own.of == "vectors" else len(learner.label_weights_L))
                            for name in own.field_sum.outputs)  # fmt: skip
                sent += held * 8 * width * lists[own.features[0]].num_distinct
            for name in table_of.keys() - summed:  # what no operator takes: rows of lists that have ids there
                sent += _row_bytes(learner, lists, name, target)
            if other != target:
                vectors += sent * (target == rank)
                gradients += sent * (other == rank)
    return vectors, gradients


def _row_bytes(learner: Learner, lists: Any, name: str, target: int) -> int:
    plan, total = learner.plan, 0
    assert plan is not None
    read = next(own for own in learner.assembled.reads if own.feature == name)
    values, offsets, _ = lists[learner.assembled.source(read)].bags(learner.assembled.source(read))
    for shard in plan.tables[read.table].shards:
        if shard.rank == target:
            inside = ((values >= shard.rows[0]) & (values < shard.rows[1])).long()
            counts = torch.cat([inside.new_zeros(1), inside.cumsum(0)])[offsets].diff()
            is_cut = shard.num_rows < plan.tables[read.table].rows
            total += 8 * shard.dim * (int((counts > 0).sum()) if is_cut else len(counts))
    return total


def _own_part(scores: torch.Tensor, batches: list[Batch], rank: int) -> torch.Tensor:
    return scores.split([batch.num_samples for batch in batches])[rank]


def _same(found: Any, expected: Any, what: str) -> None:
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=1e-10, msg=lambda text: f"{what}: {text}")


def chooses(folder: Path) -> None:
    """`auto` goes by measured lists and the plan; `on` without an operator, or without a chance, is one error."""
    ranks, table = current_ranks(), open_table(folder / "one")

    def learner(model: str, partial: str, *placed: str) -> Learner:
        case = Case(model, placed, "sgd", "one")
        settings = case.settings(partial)
        schema = run_schema(table.schema, None, settings.tables)
        measured = ids_per_list(table, schema, settings)
        assert measured["item"] == 1.0
        assert 0.5 < measured["tags"] < 3.0
        plan = case.plan(ranks.size, schema, settings)
        return Learner(schema, settings, plan=plan, ranks=ranks, ids_per_list=measured)

    alone = learner("fm of ids", "auto", "row").assembled
    assert alone.partial.notes
    assert any("pairs of group" in note and ": yes, " in note for note in alone.partial.notes), alone.partial.notes
    assert not learner("fm of ids", "off", "row").assembled.partial.sums
    assert not learner("lr", "auto", "replicated").assembled.partial.sums
    notes = learner("fm of fields", "on", "row").assembled.partial.notes
    assert any("the squares of pooled rows need tables that are not cut by rows" in note for note in notes)
    for model, message in (("dcn", "model 'dcn' has no operator that partial results of ranks add up to"),):
        try:
            learner(model, "on", "row")
        except InputError as error:
            assert message in str(error)  # noqa: PT017
        else:
            raise AssertionError(f"{model} has partial results")


def turned_off(folder: Path) -> None:
    """The same model is trained where rows of ids travel one by one, or are added up feature by feature."""
    ranks = current_ranks()
    for model, partial in (("fm of ids", "off"), ("deepfm of ids", "off"), ("deepfm of ids", "auto")):
        # a first layer so wide that rows of each feature are fewer bytes
        wide = ("model.options.deep=[300]",) if partial == "auto" else ()
        case = Case(model, ("row", "table"), "adam", "two", wide)
        table, settings = open_table(folder / case.labels), case.settings(partial)
        schema = run_schema(table.schema, None, settings.tables)
        measured = dict.fromkeys(schema.features, 3.0)
        plan = case.plan(ranks.size, schema, settings)
        learner = Learner(schema, settings, plan=plan, ranks=ranks, ids_per_list=measured)
        assert any(own.is_alone for own in learner.assembled.partial.sums) == (partial == "auto")
        alone = Learner(schema, settings)
        for batches in batches_of(folder, case.labels, ranks.size)[:5]:
            one = Batch.concat([batch for batch in batches if batch.num_samples])
            _same(learner.step(batches[ranks.rank]).loss, alone.step(one).loss, "loss")


def main() -> None:
    rank, ranks, folder, every = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{ranks}", rank=rank, world_size=ranks, timeout=timedelta(seconds=60)
    )
    failures = {}
    work: list[Any] = [(str(case), lambda case=case: trains_alike(case, folder)) for case in cases(every)]
    work += [("chooses", lambda: chooses(folder)), ("turned off", lambda: turned_off(folder))]
    for name, call in work:
        try:
            call()
        except Exception:
            failures[name] = traceback.format_exc()
            break  # the ranks may not be in step any more
    (folder / f"failures-{ranks}-{rank}.json").write_text(json.dumps(failures))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
