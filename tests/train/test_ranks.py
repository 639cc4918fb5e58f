"""Two ranks train what one process trains on their batches in rank order: all cases in one pair of processes."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from recfold.batch import Batch
from recfold.checkpoint import load, saved_steps, step_path, unflatten
from recfold.reader import Reader
from recfold.spec import InputError, Plan, Topology
from recfold.spec.plan import column_wise, replicated, row_wise, table_wise
from recfold.table import FoldedTable
from recfold.train import RunSettings, evaluate, export_run, predict, read_journal, train
from recfold.train.assemble import table_sizes
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.ranks import Ranks
from recfold.train.scores import reader_of

Settings = Callable[..., RunSettings]
OTHER_TABLES = Plan(
    topology=Topology(ranks=2),
    tables={"item": row_wise(16, 8, ranks=(0, 1)), "another": row_wise(16, 8, ranks=(0, 1))},
).model_dump(mode="json")
WORKER = Path(__file__).with_name("rank_worker.py")
FLOAT64 = ("train.dtype=float64", "reader.block_samples=64")
STEPS = {
    "dlrm": ("dlrm",),
    "sequence": ("sequence",),
    "deepfm": ("deepfm",),
    "din": ("din",),
    "lookups": ("dlrm", "train.fold=lookups"),
    "adam": ("deepfm", "tables.optimizer=adam", "tables.weight_decay=0.1"),
    "accumulated": ("dlrm", "train.accumulate=3", "train.clip_norm=0.05", "train.dense.name=SGD"),
}
KINDS = {
    "row": ("sequence", "tables.optimizer=adam", "train.batch_size=8"),
    "column": ("din", "tables.optimizer=rowwise_adagrad", "train.batch_size=8"),
    "replicated": ("sequence", "tables.optimizer=rowwise_adagrad", "train.batch_size=8"),
    "table": ("dlrm", "tables.optimizer=sgd", "train.batch_size=8", "ranks.waves=2"),
}
"""Kind of cut of every table -> what is trained, on session, window and dictionary groups."""

RUN = ("train.epochs=2", "train.dtype=float64", "reader.block_samples=64", "train.checkpoint_every=4", "train.keep=2")
EMPTY = -(1 << 20)
DROPOUT = ("model.options.dropout=0.3",)


def start_ranks(folder: Path, cases: list[dict[str, Any]], size: int = 2) -> list[dict[str, Any]]:
    """Run cases on `size` ranks; of each case name -> what it gave, a dict a rank."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    (folder / "meet").unlink(missing_ok=True)
    own = {**os.environ, "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen([sys.executable, str(WORKER), str(folder), str(rank), str(size)], env=own)
        for rank in range(size)
    ]
    assert [child.wait(timeout=300) for child in children] == [0] * size
    return [
        {
            case["name"]: unflatten(
                load_file(folder / f"{case['name']}.{rank}.safetensors"),
                json.loads((folder / f"{case['name']}.{rank}.json").read_text()),
            )
            for case in cases
        }
        for rank in range(size)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(folder: Path, table: FoldedTable, settings: Settings) -> list[dict[str, Any]]:
    """What two ranks gave, all cases in one start."""

    def case(name: str, kind: str, *changes: str, model: str = "dlrm", **more: Any) -> dict[str, Any]:
        own = settings(*changes, model=model).model_dump(mode="json")
        return {"name": name, "kind": kind, "table": str(table.path), "settings": own, **more}

    def run_case(name: str, *changes: str, out: str | None = None, **more: Any) -> dict[str, Any]:
        return case(name, "run", *RUN, *DROPOUT, *changes, out=str(folder / (out or name)), **more)

    train(table, folder / "alone", settings=settings(*RUN, "train.max_steps=9"))
    first, again = run_case("cut", "train.max_steps=7"), run_case("cut again", out="cut", resume=True)
    differs = settings(*RUN, *DROPOUT, "train.seed=5").model_dump(mode="json")
    return start_ranks(
        folder,
        [
            *(
                case(f"steps {name}", "steps", *FLOAT64, *changes, model=model)
                for name, (model, *changes) in STEPS.items()
            ),
            run_case("straight"),
            first,
            again,
            case(
                "mixed", "steps", *FLOAT64, plan=mixed_plan(table, settings(), "row", "column", "replicated", "table")
            ),
            *(
                case(
                    kind, "steps", *FLOAT64, *changes, model=model, plan=mixed_plan(table, settings(model=model), kind)
                )
                for kind, (model, *changes) in KINDS.items()
            ),
            case(
                "from row",
                "run",
                *RUN,
                "train.max_steps=5",
                out=str(folder / "moved"),
                plan=mixed_plan(table, settings(), "row"),
            ),
            case(
                "to column",
                "run",
                *RUN,
                "train.max_steps=8",
                out=str(folder / "moved"),
                resume=True,
                plan=mixed_plan(table, settings(), "column", "replicated"),
            ),
            case("not moved", "run", *RUN, "train.max_steps=8", out=str(folder / "not moved")),
            run_case("wrong plan", plan=OTHER_TABLES),
            run_case("too large", "ranks.memory_gb=1e-6"),
            run_case("differs", **{"settings of others": differs}),
            run_case("exists", out="straight"),
            case("five", "run", *RUN, "train.max_steps=5", out=str(folder / "five")),
            case("from one", "run", *RUN, out=str(folder / "alone"), resume=True),
            case(
                "stops",
                "run",
                *RUN,
                "train.epochs=9",
                "train.stop.metric=auc",
                "train.stop.min_delta=0.9",
                out=str(folder / "stops"),
            ),
            {
                "name": "scored",
                "kind": "scored",
                "table": str(table.path),
                "run": str(folder / "straight"),
                "out": str(folder / "scores.parquet"),
            },
        ],
    )


def mixed_plan(table: FoldedTable, own: RunSettings, *kinds: str) -> dict[str, Any]:
    """A plan for two ranks, each table cut in the next way."""
    found = table_sizes(run_schema(table.schema, None, own.tables), own)
    sizes = {name: (size.rows, size.dim) for name, size in found.items()}
    make = {
        "row": lambda rows, dim: row_wise(rows, dim, ranks=(1, 0)),
        "column": lambda rows, dim: column_wise(rows, dim, ranks=(0, 1)),
        "replicated": replicated,
        "table": lambda rows, dim: table_wise(rows, dim, rank=1),
    }
    placed = {name: make[kind](*size) for (name, size), kind in zip(sizes.items(), itertools.cycle(kinds))}
    return Plan(topology=Topology(ranks=2), tables=placed).model_dump(mode="json")


def joined_batches(table: FoldedTable, own: RunSettings, size: int = 2) -> list[Batch]:
    """The batches of all ranks of each step as one, as `rank_worker.steps` cuts them."""
    schema = run_schema(table.schema, None, own.tables)
    every = []
    for rank in range(size):
        with reader_of(table, "train", schema, own, order="time", ranks=Ranks(rank, size)) as reader:
            every.append([b.slice(0, n) if (n := b.num_samples - 3 * rank) > 0 else b for b in reader.lockstep()])
    return [Batch.concat([b for b in parts if b.num_samples]) for parts in zip(*every, strict=True)]


def assembled(ranks: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Whole tensors from the pieces of every rank, each cell of which is in one."""
    whole: dict[str, torch.Tensor] = {}
    for name, piece in (item for pieces in ranks for item in pieces.items()):
        values, start = piece["values"], piece["start"]
        full = whole.setdefault(name.rpartition("@")[0], torch.full(piece["shape"], EMPTY, dtype=values.dtype))
        box = full[tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))]
        assert bool((box == EMPTY).all())
        box.copy_(values)
    return whole


@pytest.mark.parametrize("name", STEPS)
def test_two_ranks_train_what_one_process_trains_on_their_batches(
    name: str, found: list[dict[str, Any]], table: FoldedTable, settings: Settings
) -> None:
    model, *changes = STEPS[name]
    own = settings(*FLOAT64, *changes, model=model)
    learner = Learner(run_schema(table.schema, None, own.tables), own, updates=30)
    losses = [learner.step(batch).loss for batch in joined_batches(table, own)]
    learner.flush()
    case = found[0][f"steps {name}"]
    case["tables"] = assembled([rank[f"steps {name}"]["pieces"] for rank in found])
    torch.testing.assert_close(case["losses"], losses, rtol=1e-9, atol=1e-12)
    alone = {"model": dict(learner.model.state_dict()), "tables": dict(learner.assembled.tables.state())}
    for part, tensors in alone.items():
        for key, tensor in tensors.items():
            torch.testing.assert_close(case[part][key], tensor, rtol=1e-9, atol=1e-12, msg=f"{part}.{key}")


def test_a_rank_that_has_run_out_goes_on_with_empty_batches(found: list[dict[str, Any]]) -> None:
    samples = [rank["steps dlrm"]["samples"] for rank in found]
    assert len(samples[0]) == len(samples[1])
    assert 0 in samples[0] + samples[1]


def test_all_ranks_end_with_the_same_bits(
    found: list[dict[str, Any]], differences: Callable[[Any, Any], list[str]]
) -> None:
    for name in STEPS:
        own, other = (rank[f"steps {name}"] for rank in found)
        assert differences([own["losses"], own["model"]], [other["losses"], other["model"]]) == []


@pytest.mark.parametrize("name", ["mixed", *KINDS])
def test_tables_cut_in_every_way_train_what_one_process_trains(
    name: str, found: list[dict[str, Any]], table: FoldedTable, settings: Settings
) -> None:
    model, *changes = KINDS.get(name, ("dlrm",))
    own = settings(*FLOAT64, *changes, model=model)
    learner = Learner(run_schema(table.schema, None, own.tables), own, updates=30)
    losses = [learner.step(batch).loss for batch in joined_batches(table, own)]
    assert name == "mixed" or len(losses) >= 20
    torch.testing.assert_close(found[0][name]["losses"], losses, rtol=1e-9, atol=1e-12)
    whole = assembled([rank[name]["pieces"] for rank in found])
    for key, tensor in learner.assembled.tables.state().items():
        torch.testing.assert_close(whole[key], tensor, rtol=1e-9, atol=1e-12, msg=key)


def test_a_run_goes_on_under_another_plan(found: list[dict[str, Any]], folder: Path) -> None:
    assert found[0]["to column"]["steps"] == 8
    moved, straight = weights(folder / "moved"), weights(folder / "not moved")
    for part in ("model", "tables"):
        for name, tensor in straight[part].items():
            torch.testing.assert_close(moved[part][name], tensor, rtol=1e-9, atol=1e-12, msg=name)


def test_a_plan_of_other_tables_or_too_little_memory_stops_all_ranks(found: list[dict[str, Any]], folder: Path) -> None:
    assert "the plan does not place table 'action'" in found[0]["wrong plan"]["error"]
    assert "table 'tags' takes" in found[0]["too large"]["error"]
    assert "use at least" in found[0]["too large"]["error"]
    assert found[1]["too large"]["error"].startswith("OtherRankFailed")
    assert not (folder / "wrong plan").exists()


@pytest.mark.parametrize("tables", ["parquet", "safetensors"])
def test_an_export_of_two_ranks_has_whole_tables(
    found: list[dict[str, Any]], folder: Path, tmp_path: Path, tables: str
) -> None:
    export_run(folder / "moved", tmp_path / "out", tables=tables)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    expected = weights(folder / "moved")
    assert manifest["tables"].keys() == {"item", "tags", "action", "place"}
    for name, said in manifest["tables"].items():
        path = tmp_path / "out" / said["file"]
        if tables == "parquet":
            rows = pq.read_table(path)
            assert rows["row"].to_pylist() == list(range(said["rows"]))
            weight = torch.tensor(rows["vector"].to_pylist(), dtype=torch.float64)
        else:
            weight = load_file(path)["weight"]
        assert torch.equal(weight, expected["tables"][f"{name}.weight"])
    model = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(model[name], tensor) for name, tensor in expected["model"].items())
    with pytest.raises(InputError, match="exists already"):
        export_run(folder / "moved", tmp_path / "out")


def weights(run: Path) -> dict[str, Any]:
    state = load(step_path(run, saved_steps(run)[-1]))
    return {"model": state["model"], "tables": dict(state["tables"]), "optimizer": state["optimizer"]}


def test_an_interrupted_run_of_two_ranks_goes_on_bit_for_bit(
    found: list[dict[str, Any]], folder: Path, differences: Callable[[Any, Any], list[str]]
) -> None:
    assert found[0]["cut"]["steps"] == 7
    assert found[0]["cut again"]["steps"] == found[0]["straight"]["steps"] == found[1]["straight"]["steps"]
    assert differences(weights(folder / "straight"), weights(folder / "cut")) == []


def test_ranks_that_differ_do_not_start_and_one_says_why(found: list[dict[str, Any]], folder: Path) -> None:
    own, other = (rank["differs"]["error"] for rank in found)
    assert "InputError: rank 1 has another setting train.seed than rank 0; got 5; expected 0" in own
    assert other.startswith("OtherRankFailed")
    assert not (folder / "differs").exists()


def test_what_only_rank_0_sees_stops_all(found: list[dict[str, Any]]) -> None:
    assert "exists already" in found[0]["exists"]["error"]
    assert "exists already" in found[1]["exists"]["error"] or found[1]["exists"]["error"].startswith("OtherRankFailed")


def test_a_checkpoint_of_two_ranks_is_in_shares_and_of_version_2(found: list[dict[str, Any]], folder: Path) -> None:
    path = step_path(folder / "straight", saved_steps(folder / "straight")[-1])
    manifest = json.loads((path / "checkpoint.json").read_text())
    assert (manifest["format_version"], manifest["world_size"]) == (2, 2)
    files = {name for name in manifest["files"] if "pieces" in name}
    assert files == {"tables.pieces-00000.safetensors", "tables.pieces-00001.safetensors"}
    assert {entry.name for entry in path.iterdir()} == {*manifest["files"], "checkpoint.json"}
    assert len(saved_steps(folder / "straight")) == 2


def test_one_process_goes_on_where_two_ranks_stopped(
    found: list[dict[str, Any]], folder: Path, table: FoldedTable, settings: Settings
) -> None:
    run = folder / "five"
    assert found[0]["five"]["steps"] == 5
    result = train(table, run, settings=settings(*RUN, "train.max_steps=60"), resume=True)
    assert result.ended == "finished"
    records = [r for r in read_journal(run) if r["kind"] == "step"]
    with Reader(table, "train") as reader:
        assert records[-1]["samples"] == 2 * reader.num_samples
    assert load(step_path(run, result.steps))["tables"].keys() == weights(folder / "straight")["tables"].keys()


def test_two_ranks_go_on_where_one_process_stopped(
    found: list[dict[str, Any]], folder: Path, table: FoldedTable
) -> None:
    records = [r for r in read_journal(folder / "alone") if r["kind"] == "step"]
    assert found[0]["from one"]["ended"] == "finished"
    with Reader(table, "train") as reader:
        assert records[-1]["samples"] == 2 * reader.num_samples


def test_early_stopping_is_decided_once(found: list[dict[str, Any]]) -> None:
    assert [rank["stops"]["ended"] for rank in found] == ["early stopping"] * 2
    assert found[0]["stops"]["steps"] == found[1]["stops"]["steps"]


def test_scores_of_two_ranks_are_those_of_one_process(
    found: list[dict[str, Any]], folder: Path, table: FoldedTable, tmp_path: Path
) -> None:
    alone = evaluate(folder / "straight", table).model_dump(mode="json")["labels"]
    for label, values in alone.items():
        for name, value in values["model"].items():
            assert found[0]["scored"]["labels"][label]["model"][name] == pytest.approx(value, rel=1e-9), (label, name)
    predict(folder / "straight", table, tmp_path / "scores.parquet")
    assert pq.read_table(folder / "scores.parquet").equals(pq.read_table(tmp_path / "scores.parquet"))
