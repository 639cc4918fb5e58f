"""Plans for TorchRec, and our planner where it takes one."""

import itertools
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recfold.embed.quiet import quiet
from recfold.plan import save_plan
from recfold.plan.interop import RecfoldPlanner, to_torchrec_plan
from recfold.plan.interop.modules import torchrec_distributed
from recfold.plan.interop.planner import guessed_accesses, torchrec_bits
from recfold.plan.interop.torchrec_plan import even_blocks, torchrec_rectangles
from recfold.plan.piece import TableLoad
from recfold.spec import InputError, Placement, Plan, Shard, Topology, replicated, row_wise
from recfold.spec.plan import column_wise, table_wise, twrw

needs_torchrec = pytest.mark.skipif(find_spec("torchrec") is None, reason="TorchRec is not installed: make peers")
HOSTS = Topology(ranks=4, ranks_per_host=2)


def uneven_columns(rows: int, dim: int) -> Placement:
    return Placement(
        rows=rows,
        dim=dim,
        shards=(
            Shard(rank=1, rows=(0, rows), columns=(0, 4)),
            Shard(rank=0, rows=(0, rows), columns=(4, dim)),
        ),
    )


@needs_torchrec
def test_two_ranks_give_what_the_unsharded_tables_give(tmp_path: Path) -> None:
    topology = Topology(ranks=2)
    plan = Plan(
        topology=topology,
        tables={
            "whole": table_wise(9, 8, rank=1),
            "rows": row_wise(10, 8, ranks=(0, 1)),
            "odd_rows": row_wise(11, 4, ranks=(0, 1)),
            "columns": column_wise(7, 8, ranks=(1, 0), multiple=4),
            "uneven_columns": uneven_columns(6, 12),
            "copied": replicated(5, 4),
        },
    )
    save_plan(plan, tmp_path / "plan.json")
    script = Path(__file__).with_name("torchrec_rank.py")
    ranks = [
        subprocess.Popen([sys.executable, str(script), str(tmp_path), str(rank)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for rank in ranks:
        _, problems = rank.communicate(timeout=120)
        assert rank.returncode == 0, problems
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["exported"] < 1e-6
        assert found["planned"] < 1e-6
        assert set(found["kinds"]) == set(plan.tables)
        assert set(found["kinds"].values()) <= {"table_wise", "column_wise"}
        assert "needs" in found["problem"]


@needs_torchrec
@pytest.mark.parametrize(
    ("placement", "kind"),
    [
        (table_wise(10, 8, rank=3), "table_wise"),
        (row_wise(10, 8, ranks=range(4)), "row_wise"),
        (twrw(10, 8, topology=HOSTS, host=1), "table_row_wise"),
        (column_wise(10, 8, ranks=(2, 0)), "column_wise"),
        (replicated(10, 8), "data_parallel"),
    ],
)
def test_each_kind_is_what_torchrec_itself_makes(placement: Placement, kind: str) -> None:
    with quiet():
        from torchrec.distributed import sharding_plan as theirs
        from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
        from torchrec.modules.embedding_configs import EmbeddingBagConfig
        from torchrec.modules.embedding_modules import EmbeddingBagCollection

    made = {
        "table_wise": lambda: theirs.table_wise(rank=3),
        "row_wise": theirs.row_wise,
        "table_row_wise": lambda: theirs.table_row_wise(host_index=1),
        "column_wise": lambda: theirs.column_wise(ranks=[2, 0]),
        "data_parallel": theirs.data_parallel,
    }[kind]()
    config = EmbeddingBagConfig(name="a", num_embeddings=10, embedding_dim=8, feature_names=["a_ids"])
    module = EmbeddingBagCollection(tables=[config], device=torch.device("meta"))
    expected = theirs.construct_module_sharding_plan(
        module,
        {"a": made},
        sharder=EmbeddingBagCollectionSharder(),
        local_size=2,
        world_size=4,
        device_type="cpu",
    )["a"]
    found = to_torchrec_plan(Plan(topology=HOSTS, tables={"a": placement}), "path").plan["path"]["a"]
    assert found.sharding_type == expected.sharding_type == kind
    assert found.ranks == expected.ranks
    assert found.compute_kernel == ("dense" if kind == "data_parallel" else "fused")
    shards = [[] if own.sharding_spec is None else own.sharding_spec.shards for own in (found, expected)]
    assert shards[0] == shards[1]


def grid() -> Placement:
    shards = [
        Shard(rank=n, rows=(5 * (n % 2), 5 + 5 * (n % 2)), columns=(4 * (n // 2), 4 + 4 * (n // 2))) for n in range(4)
    ]
    return Placement(rows=10, dim=8, shards=tuple(shards))


def uneven_rows() -> Placement:
    cuts = (0, 10, 20, 30, 1000)
    shards = [Shard(rank=n, rows=(cuts[n], cuts[n + 1]), columns=(0, 8)) for n in range(4)]
    return Placement(rows=1000, dim=8, shards=tuple(shards))


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (grid(), "a plan that cuts both rows and columns"),
        (row_wise(10, 8, ranks=(1, 2)), "cuts rows over ranks 1, 2; expected a whole table"),
        (row_wise(10, 8, ranks=(3, 2, 1, 0)), "cuts rows over ranks 3, 2, 1, 0"),
        (uneven_rows(), "cuts rows at 10, where blocks of 250 rows are cut at 250"),
    ],
)
def test_what_torchrec_cannot_say_is_an_error(placement: Placement, message: str) -> None:
    with pytest.raises(InputError, match="TorchRec cannot hold table 'a' as the plan does") as caught:
        torchrec_rectangles("a", placement, HOSTS)
    assert message in str(caught.value)


@needs_torchrec
def test_tables_have_to_be_in_one_module_each() -> None:
    plan = Plan(topology=Topology(ranks=2), tables={name: table_wise(4, 4, rank=0) for name in "ab"})
    assert set(to_torchrec_plan(plan, {"x": ["a"], "y": ["b"]}).plan) == {"x", "y"}
    with pytest.raises(InputError, match="the plan's table 'b' is in no module"):
        to_torchrec_plan(plan, {"x": ["a"]})
    with pytest.raises(InputError, match="the plan has no table 'c'"):
        to_torchrec_plan(plan, {"x": ["a", "b", "c"]})
    with pytest.raises(InputError, match="table 'a' is in two modules"):
        to_torchrec_plan(plan, {"x": ["a", "b"], "y": ["a"]})


def test_blocks_are_those_of_torchrec() -> None:
    for rows in range(1, 40):
        for parts in range(1, 9):
            sizes = even_blocks(rows, parts)
            assert sum(sizes) == rows
            assert all(size == sizes[0] for size, after in itertools.pairwise(sizes) if after)


def fake_topology(ranks: int = 4, *, num_bytes: int = 10**9) -> Any:
    storage = SimpleNamespace(ddr=num_bytes, hbm=0)
    return SimpleNamespace(
        world_size=ranks, local_world_size=ranks, compute_device="cpu", devices=[SimpleNamespace(storage=storage)]
    )


def loads(*dims: int, rows: int = 1000) -> dict[str, TableLoad]:
    shares = guessed_accesses(8192, rows)
    return {
        f"t{number}": TableLoad(f"t{number}", rows, dim, 4 * dim + 4, 4096, 8192, shares)
        for number, dim in enumerate(dims)
    }


def test_the_planner_cuts_columns_and_what_is_too_large_by_rows() -> None:
    found = RecfoldPlanner(fake_topology(), memory_bytes=200_000).placements(loads(64, 64, 16))
    assert {own.kind for own in found.tables.values()} <= {"table_wise", "column_wise"}
    tables = {**loads(16, 16), "big": TableLoad("big", 20_000, 4, 20, 4096, 8192, guessed_accesses(8192, 20_000))}
    found = RecfoldPlanner(fake_topology(), memory_bytes=200_000).placements(tables)
    assert found.tables["big"].kind == "row_wise"
    assert max(found.rank_bytes({name: own.row_bytes for name, own in tables.items()})) <= 200_000


def test_the_planner_reads_types_of_sharding() -> None:
    def planner(**types: list[str]) -> RecfoldPlanner:
        given = {name: SimpleNamespace(sharding_types=own) for name, own in types.items()}
        return RecfoldPlanner(fake_topology(), constraints=given)

    found = planner(t0=["row_wise"], t1=["data_parallel"], t2=["table_wise"]).placements(loads(64, 16, 128, 128))
    kinds = [own.kind for own in found.tables.values()]
    assert kinds == ["row_wise", "replicated", "table_wise", "table_wise"]
    assert "column_wise" in {own.kind for own in planner().placements(loads(128)).tables.values()}
    with pytest.raises(InputError, match="table 't0' may only be sharded in ways that are not known here"):
        planner(t0=["grid_shard"]).placements(loads(64))


@needs_torchrec
def test_loads_come_from_configs_and_constraints() -> None:
    with quiet():
        from torchrec.types import DataType

    config = SimpleNamespace(
        name="a", num_embeddings=1000, embedding_dim=16, feature_names=["x", "y"], data_type=DataType.FP16
    )
    own = SimpleNamespace(pooling_factors=[2.0, 10.0], num_poolings=None, batch_sizes=None)
    load = RecfoldPlanner(fake_topology(), batch_size=100, constraints={"a": own})._load(config)
    assert (load.lists, load.lookups, load.row_bytes) == (800, 4800, 36)
    assert torchrec_bits(DataType.FP32) == 32
    wrong = SimpleNamespace(pooling_factors=[2.0, 10.0, 3.0])
    with pytest.raises(InputError, match="pooling_factors of 'a' are not one for each feature; got 3"):
        RecfoldPlanner(fake_topology(), constraints={"a": wrong})._load(config)


def test_guessed_accesses_read_no_more_rows_than_there_are() -> None:
    from recfold.plan.cost.draw import mean_counts

    for rows in (1, 10, 1000, 10**6):
        for lookups in (1.0, 100.0, 50_000.0):
            shares = guessed_accesses(lookups, rows)
            assert sum(shares) == pytest.approx(1)
            if lookups / rows < 30_000:
                assert sum(s * lookups / m for s, m in zip(shares, mean_counts().tolist(), strict=True)) <= rows


def test_without_torchrec_one_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrec_distributed.cache_clear()
    monkeypatch.setitem(sys.modules, "torchrec", None)
    monkeypatch.setitem(sys.modules, "torchrec.distributed", None)
    monkeypatch.setitem(sys.modules, "torchrec.distributed.types", None)
    plan = Plan(topology=Topology(ranks=2), tables={"a": table_wise(4, 4, rank=0)})
    try:
        with pytest.raises(InputError, match=r"TorchRec is not installed.*install it with `make peers`"):
            to_torchrec_plan(plan)
    finally:
        torchrec_distributed.cache_clear()
