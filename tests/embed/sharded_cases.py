"""What each rank of `test_sharded.py` runs: many cases in one start of the processes. Run as a program:

python sharded_cases.py RANK RANKS FOLDER NUM_SEEDS EVERY    writes FOLDER/failures-RANK.json: case -> what went wrong

NUM_SEEDS of each drawn case, and every EVERYth of the matrix (kind x rule x way of reading).
"""

import contextlib
import dataclasses
import itertools
import json
import random
import sys
import traceback
import unittest.mock
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import recfold
from recfold.comm import CODECS
from recfold.embed import Bags, EmbeddingTables, ShardedTables, ShardState, whole_state
from recfold.embed.field_sums import as_weighted, field_sums_reference
from recfold.spec import (
    FieldSum,
    InputError,
    Placement,
    Plan,
    Read,
    TableSpec,
    Topology,
    column_wise,
    replicated,
    row_wise,
    table_wise,
    twcw,
    twrw,
)

OPTIMIZERS = ("sgd", "adagrad", "rowwise_adagrad", "adam")
KINDS = ("table_wise", "row_wise", "column_wise", "replicated", "twrw", "twcw", "grid")
MODES = ("sum", "mean", "rows")
STEPS, MATRIX_STEPS = 5, 20

Batch = dict[str, Bags]


@dataclasses.dataclass(frozen=True)
class Case:
    """Tables, who reads them, and where they are.

    Args:
        tables, reads, plan, together: as `ShardedTables` takes them.
        weighted: features whose ids have weights.
        options: of both kinds of tables.
    """

    tables: dict[str, TableSpec]
    reads: tuple[Read, ...]
    plan: Plan
    together: dict[str, str]
    weighted: frozenset[str]
    options: dict[str, Any]

    def sharded(self, **more: Any) -> ShardedTables:
        return ShardedTables(
            self.tables, self.reads, **{"plan": self.plan, "together": self.together, **self.options, **more}
        )

    def whole(self) -> EmbeddingTables:
        return EmbeddingTables(self.tables, self.reads, together=self.together, **self.options)


def placement(kind: str, rows: int, dim: int, topology: Topology, draw: random.Random) -> Placement:
    ranks = list(range(topology.ranks))
    draw.shuffle(ranks)
    host = draw.randrange(topology.hosts)
    if kind == "grid":  # column blocks cut at different rows; some ranks hold several shards
        shards, columns = [], [(0, dim // 2), (dim // 2, dim)]
        for number, own in enumerate(columns):
            cut = rows // (2 + number)
            shards += [
                {"rank": draw.choice(ranks), "rows": (0, cut), "columns": own},
                {"rank": draw.choice(ranks), "rows": (cut, rows), "columns": own},
            ]
        return Placement.parse({"rows": rows, "dim": dim, "shards": shards}, kind)
    return {
        "table_wise": lambda: table_wise(rows, dim, rank=ranks[0]),
        "row_wise": lambda: row_wise(rows, dim, ranks=ranks),
        "column_wise": lambda: column_wise(rows, dim, ranks=ranks),
        "replicated": lambda: replicated(rows, dim),
        "twrw": lambda: twrw(rows, dim, topology=topology, host=host),
        "twcw": lambda: twcw(rows, dim, topology=topology, host=host),
    }[kind]()


def draw_case(draw: random.Random, ranks: int, kinds: tuple[str, ...] = KINDS, **fixed: Any) -> Case:
    """Two to four tables, each with one to three reads in groups."""
    topology = Topology(ranks=ranks, ranks_per_host=2 if ranks % 2 == 0 else None)
    optimizer, mode = fixed.get("optimizer"), fixed.get("mode")
    tables, reads, placed = {}, [], {}
    for number in range(draw.randint(2, 4)):
        name, rows, dim = f"table{number}", draw.randint(5, 40), draw.choice([4, 5, 8])
        tables[name] = TableSpec(rows=rows, dim=dim, optimizer=optimizer or draw.choice(OPTIMIZERS))
        placed[name] = placement(kinds[number % len(kinds)] if fixed else draw.choice(kinds), rows, dim, topology, draw)
        for place in range(draw.choice([1, 1, 2, 3])):
            reads.append(Read(feature=f"{name}.{place}", table=name, mode=mode or draw.choice(MODES)))
    groups = ("user", "item", "sample")
    together = {read.feature: draw.choice(groups) for read in reads if draw.random() < 0.8}
    weighted = frozenset(read.feature for read in reads if draw.random() < 0.3)
    options = {"kernel": "torch", "dtype": torch.float64, "learning_rate": 0.1, "seed": draw.randrange(100)}
    options["weight_decay"] = draw.choice([0.0, 0.0, 0.05])
    return Case(tables, tuple(reads), Plan(topology=topology, tables=placed), together, weighted, options)


def draw_batches(case: Case, generator: torch.Generator, empty: bool) -> list[Batch]:
    """A batch a rank: of different sizes, some without samples where `empty`."""
    batches = []
    for _ in range(case.plan.ranks):
        sizes = {group: int(torch.randint(0 if empty else 1, 6, (1,), generator=generator)) for group in "usi"}
        nothing = empty and float(torch.rand(1, generator=generator)) < 0.3
        batch = {}
        for read in case.reads:
            lists = 0 if nothing else sizes[case.together.get(read.feature, "sample")[0]]
            length = torch.randint(0, 5, (lists,), generator=generator)
            offsets = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
            values = torch.randint(0, case.tables[read.table].rows or 0, (int(offsets[-1]),), generator=generator)
            weights = torch.rand(len(values), generator=generator) + 0.5 if read.feature in case.weighted else None
            batch[read.feature] = Bags(values, offsets, weights)
        batches.append(batch)
    return batches


def joined(batches: list[Batch]) -> Batch:
    """The batches one after the other."""
    whole = {}
    for feature in batches[0]:
        parts = [batch[feature] for batch in batches]
        lengths = torch.cat([part.offsets.diff() for part in parts])
        weights = None if parts[0].weights is None else torch.cat([p.weights for p in parts if p.weights is not None])
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        whole[feature] = Bags(torch.cat([part.values for part in parts]), offsets, weights)
    return whole


def steps_of(
    case: Case, seed: int, empty: bool, count: int = STEPS
) -> Iterator[tuple[list[Batch], dict[str, list[Tensor]]]]:
    """The ranks' batches and the gradients of their outputs, the same on every rank."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        batches = draw_batches(case, generator, empty)
        yield (
            batches,
            {
                read.feature: [
                    torch.randn(
                        batch[read.feature].num_bags(read.mode),
                        case.tables[read.table].dim,
                        generator=generator,
                        dtype=torch.float64,
                    ).to(case.options["dtype"])
                    for batch in batches
                ]
                for read in case.reads
            },
        )


def backward(out: dict[str, Tensor], grads: dict[str, Tensor]) -> None:
    torch.autograd.backward([out[name] for name in grads], list(grads.values()))


def assert_holds(tables: ShardedTables, state: dict[str, Tensor], tolerance: float) -> None:
    """This rank's shards are rectangles of the one-process state."""
    for shard in tables.shards():
        for name, tensor in shard.tensors.items():
            part = [slice(*shard.rows), slice(*shard.columns)][: tensor.dim()]
            expected = state[f"{shard.table}.{name}"][tuple(part)]
            message = f"{name} of {shard.name}"
            torch.testing.assert_close(
                tensor, expected, rtol=tolerance, atol=tolerance, msg=lambda m, n=message: f"{n}: {m}"
            )


def train(case: Case, tables: ShardedTables, whole: EmbeddingTables, seed: int, **how: Any) -> None:
    """Train both and compare outputs and weights at every step."""
    rank, tolerance = dist.get_rank(), how.get("tolerance", 1e-9)
    empty, ahead = how.get("empty", True), how.get("ahead", False)
    steps = list(steps_of(case, seed, empty, how.get("steps", STEPS)))
    under_way = tables.begin(steps[0][0][rank]) if ahead else None
    for number, (batches, grads) in enumerate(steps):
        expected = whole(joined(batches))
        backward(expected, {name: torch.cat(own) for name, own in grads.items()})
        own = batches[rank]
        if under_way is not None:
            if seed % 2:
                tables.answer(under_way)
            out = tables.finish(under_way)
            under_way = tables.begin(steps[number + 1][0][rank]) if number + 1 < len(steps) else None
        elif empty and all(part.num_bags("sum") == 0 for part in own.values()):
            tables.serve()
            assert_holds(tables, whole.state(), tolerance)
            continue
        else:
            out = tables(own)
        assert list(out) == [read.feature for read in case.reads]
        for read in case.reads:
            counts = [batch[read.feature].num_bags(read.mode) for batch in batches]
            want = expected[read.feature].detach().split(counts)[rank]
            torch.testing.assert_close(out[read.feature].detach(), want, rtol=tolerance, atol=tolerance)
        backward(out, {name: own[rank] for name, own in grads.items()})
        assert_holds(tables, whole.state(), tolerance)


def all_shards(tables: ShardedTables) -> list[ShardState]:
    """Shards of all ranks, replicated tables of rank 0 only."""
    own = [shard for shard in tables.shards() if dist.get_rank() == 0 or not tables.plan.tables[shard.table].replicated]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return [shard for part in found for shard in part]


# --- cases: each a function of (seed, ranks) that every rank runs ---


def mixed(seed: int, ranks: int) -> None:
    """Any plan trains as one process does."""
    draw = random.Random(seed)
    case = draw_case(draw, ranks)
    train(case, case.sharded(waves=1 + seed % 5 // 2), case.whole(), seed, ahead=seed % 3 == 0, empty=seed % 4 != 0)


def matrix(seed: int, ranks: int) -> None:
    """Every kind with every rule and way of reading; `seed` counts them."""
    kinds = KINDS[seed % len(KINDS) :] + KINDS[: seed % len(KINDS)]
    optimizer = OPTIMIZERS[seed // len(KINDS) % len(OPTIMIZERS)]
    mode = MODES[seed // len(KINDS) // len(OPTIMIZERS) % len(MODES)]
    case = draw_case(random.Random(seed), ranks, kinds[:1], optimizer=optimizer, mode=mode)
    case = dataclasses.replace(
        case, weighted=frozenset(r.feature for n, r in enumerate(case.reads) if n % 2 == seed % 2)
    )
    train(case, case.sharded(waves=1 + seed % 3), case.whole(), seed, steps=MATRIX_STEPS)


def fbgemm(seed: int, ranks: int) -> None:
    """Float32 on the kernels that `auto` takes."""
    case = draw_case(random.Random(seed), ranks)
    case = dataclasses.replace(case, options={**case.options, "kernel": "auto", "dtype": torch.float32})
    train(case, case.sharded(), case.whole(), seed, tolerance=2e-4)


def repeated(seed: int, ranks: int) -> None:
    """Two runs give the same bits."""
    case = draw_case(random.Random(seed), ranks)
    states = []
    for _ in range(2):
        tables = case.sharded()
        for batches, grads in steps_of(case, seed, True):
            backward(tables(batches[dist.get_rank()]), {name: own[dist.get_rank()] for name, own in grads.items()})
        states.append(tables.state())
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())


def waves(seed: int, ranks: int) -> None:
    """Rows in any number of messages are the same rows, in as many bytes, and train the same bits."""
    rank, case = dist.get_rank(), draw_case(random.Random(seed), ranks)
    case = dataclasses.replace(case, options={**case.options, "kernel": "auto", "dtype": torch.float32})
    found = []
    for number in (1, 2, 7):
        tables = case.sharded(waves=number, codec=("fp32", "int8")[seed % 2])
        outputs = []
        for batches, grads in steps_of(case, seed, True):
            lookup = tables.begin(batches[rank])
            tables.answer(lookup)
            assert len(lookup.rows) == number
            outputs.append(tables.finish(lookup))
            backward(outputs[-1], {name: own[rank] for name, own in grads.items()})
        found.append((outputs, tables.state(), tables.wire.take()))
    for outputs, state, sent in found[1:]:
        for own, first in zip(outputs, found[0][0], strict=True):
            assert all(torch.equal(own[name], rows) for name, rows in first.items())
        assert all(torch.equal(state[name], tensor) for name, tensor in found[0][1].items())
        assert sent == found[0][2]


def resharded(seed: int, ranks: int) -> None:
    """The state of any plan, or of one process, loads under any other."""
    draw = random.Random(seed)
    case = draw_case(draw, ranks)
    first, whole = case.sharded(), case.whole()
    train(case, first, whole, seed)
    found = all_shards(first)
    for name, tensor in whole.state().items():
        torch.testing.assert_close(whole_state(found)[name], tensor, rtol=1e-9, atol=1e-9)
    tables = {
        name: placement(draw.choice(KINDS), placed.rows, placed.dim, case.plan.topology, draw)
        for name, placed in case.plan.tables.items()
    }
    other = dataclasses.replace(case, plan=Plan(topology=case.plan.topology, tables=tables))
    second = other.sharded(seed=draw.randrange(100))
    second.load_shards(iter(found))
    train(other, second, whole, seed + 1)
    third = case.sharded(seed=1000)
    third.load_shards(whole.shards())
    fourth = case.whole()
    fourth.load_shards(found)
    train(case, third, whole, seed + 2)
    third.load_state({name: tensor.clone() for name, tensor in third.state().items()})
    if third.shards():
        with raises("holds only"):
            third.load_shards([])


def evaluated(seed: int, ranks: int) -> None:
    """Without gradients nothing is updated, and ranks may serve."""
    case = draw_case(random.Random(seed), ranks)
    tables, whole, rank = case.sharded(), case.whole(), dist.get_rank()
    (batches, _), *_ = steps_of(case, seed, True)
    expected = whole(joined(batches))
    tables.eval()
    out = tables(batches[rank]) if rank else tables(tables.empty_bags())
    assert not any(rows.requires_grad for rows in out.values())
    for read in case.reads:
        counts = [batch[read.feature].num_bags(read.mode) for batch in batches]
        if rank:
            torch.testing.assert_close(out[read.feature], expected[read.feature].detach().split(counts)[rank])
    tables.serve()
    assert_holds(tables, whole.state(), 0.0)
    tables.train()
    with torch.no_grad():
        tables.serve()
    assert "gradients" not in tables.wire.take()


def codecs(seed: int, ranks: int) -> None:
    """Rows are within the codec's bound; a replicated table stays equal on all ranks."""
    case = draw_case(random.Random(seed), ranks)
    whole, rank = case.whole(), dist.get_rank()
    (batches, grads), *_ = steps_of(case, seed, True)
    expected = whole(joined(batches))
    bounds = {"fp32": 1e-12, "fp16": 2e-3, "bf16": 1.6e-2, "int8": 1e-2}
    assert bounds.keys() == CODECS.keys()
    for codec, bound in bounds.items():
        tables = case.sharded(codec=codec)
        out = tables(batches[rank])
        for read in case.reads:
            counts = [batch[read.feature].num_bags(read.mode) for batch in batches]
            want = expected[read.feature].detach().split(counts)[rank]
            # partial sums of row shards may be larger than their sum
            largest = 5 * 1.5 * float(whole.state()[f"{read.table}.weight"].abs().max())
            assert float((out[read.feature].detach() - want).abs().amax(dim=(0, 1)) if want.numel() else 0) <= (
                bound * largest * 2
            )
        backward(out, {name: own[rank] for name, own in grads.items()})
        for shard in tables.shards():
            if case.plan.tables[shard.table].replicated:
                found: list[Any] = [None] * ranks
                dist.all_gather_object(found, dict(shard.tensors))
                for other in found:
                    assert all(torch.equal(tensor, other[name]) for name, tensor in shard.tensors.items())


def wire(seed: int, ranks: int) -> None:
    """Bytes by kind, counted by hand. Rank 0 has lists [1, 7] [] [3], every other rank one list [0]."""
    rank = dist.get_rank()
    own = Bags(torch.tensor([1, 7, 3]), torch.tensor([0, 2, 2, 3])) if rank == 0 else None
    bags = {"likes": own or Bags(torch.tensor([0]), torch.tensor([0, 1]))}
    tables, reads = {"item": TableSpec(rows=8, dim=4)}, [Read(feature="likes", table="item", mode="sum")]
    topology, others = Topology(ranks=ranks), ranks - 1
    last = ranks - 1
    expected = {
        # lists, empty ones too, go to the last rank; rows of 16 bytes come back
        "table_wise": (
            table_wise(8, 4, rank=last),
            {"sizes": 4 * others + 12 * (rank != last)}
            | ({"ids": 24, "lengths": 12, "gradients": 48} if rank == 0 else {})
            | ({"ids": 8, "lengths": 4, "gradients": 16} if 0 < rank < last else {})
            | ({"vectors": 48 + 16 * (ranks - 2)} if rank == last else {}),
        ),
        # rank 0 reads rows 1, 3 and 7: touched rows go to all, with their gradients
        "replicated": (
            replicated(8, 4),
            {"sizes": 8 * others, "ids": (24 if rank == 0 else 8) * others}
            | {"gradients": (48 if rank == 0 else 16) * others},
        ),
        # half of the columns there and back, and one float a touched row (0, 1, 3, 7)
        "column_wise": (
            column_wise(8, 4, ranks=(0, last)),
            {"sizes": 4 * others + 12 * ((rank != 0) + (rank != last))}
            | {"ids": (24 if rank == 0 else 8) * ((rank != 0) + (rank != last))}
            | {"lengths": (12 if rank == 0 else 4) * ((rank != 0) + (rank != last))}
            | {"gradients": (24 if rank == 0 else 8) * ((rank != 0) + (rank != last))}
            | ({"vectors": 8 * others, "norms": 16} if rank == 0 else {})
            | ({"vectors": 24 + 8 * (ranks - 2), "norms": 16} if rank == last else {}),
        ),
        # rows [0, 4) on rank 0, [4, 8) on the last: only the list with id 7 goes there
        "row_wise": (
            row_wise(8, 4, ranks=(0, last)),
            {"sizes": 4 * others + 12 * ((rank != 0) + (rank != last))}
            | ({"ids": 8, "lengths": 4, "gradients": 16, "vectors": 16 * others} if rank == 0 else {})
            | ({"ids": 8, "lengths": 4, "gradients": 16} if rank > 0 else {})
            | ({"vectors": 16} if rank == last else {}),
        ),
    }
    for kind, (placed, want) in expected.items():
        sharded = ShardedTables(tables, reads, plan=Plan(topology=topology, tables={"item": placed}), kernel="torch")
        sharded(bags)["likes"].sum().backward()
        assert sharded.wire.take() == want, kind
        assert sharded.wire.take() == {}
        kinds = {"sizes", "ids", "vectors", "gradients"} | ({"norms"} if kind == "column_wise" else set())
        assert sharded.wire.take_waits().keys() == kinds


def frames(seed: int, ranks: int) -> None:
    """Few steps from a call to the work: from the tables to a collective at most four frames of ours."""
    case = draw_case(random.Random(seed), ranks, ("column_wise", "row_wise"), optimizer="rowwise_adagrad")
    tables, rank, depths = case.sharded(), dist.get_rank(), []
    (batches, grads), *_ = steps_of(case, seed, False)
    room = str(Path(recfold.__file__).parent)
    plain = dist.all_to_all_single

    def counted(*args: Any, **kwargs: Any) -> Any:
        stack = traceback.extract_stack()
        depths.append(sum(frame.filename.startswith(room) for frame in stack))
        return plain(*args, **kwargs)

    with unittest.mock.patch.object(dist, "all_to_all_single", counted):
        backward(tables(batches[rank]), {name: own[rank] for name, own in grads.items()})
    assert len(depths) == 5, depths  # sizes, ids, rows, gradients, sums of squares
    assert max(depths) <= 4, depths


def wrong(seed: int, ranks: int) -> None:
    """One clear error on every rank, and the next step works."""
    rank = dist.get_rank()
    topology = Topology(ranks=ranks)
    tables, reads = {"item": TableSpec(rows=8, dim=4)}, [Read(feature="likes", table="item", mode="sum")]
    plan = Plan(topology=topology, tables={"item": row_wise(8, 4, ranks=range(ranks))})
    sharded = ShardedTables(tables, reads, plan=plan)
    good = Bags(torch.tensor([7, 0]), torch.tensor([0, 1, 2]))
    with raises("on rank 1: feature 'likes' has an id outside table 'item'; got 9"):
        sharded({"likes": Bags(torch.tensor([9]), torch.tensor([0, 1])) if rank == 1 else good})
    with raises("on rank 0: no bags of feature 'likes'"):
        sharded({} if rank == 0 else {"likes": good})
    sharded({"likes": good})["likes"].sum().backward()
    sharded.train(rank != 0)
    with raises("some ranks train on this batch and others only look it up"):
        sharded({"likes": good})
    small = Plan(topology=Topology(ranks=ranks + 1), tables=plan.tables)
    with raises(f"on rank 0: the plan is for {ranks + 1} ranks; got {ranks}"):
        ShardedTables(tables, reads, plan=small if rank == 0 else plan)
    other = Plan(topology=topology, tables={"item": table_wise(8, 4, rank=0)})
    with raises("rank 1 has other tables, reads, plan, codec, waves or seed than rank 0"):
        ShardedTables(tables, reads, plan=other if rank == 1 else plan)
    with raises("unknown codec 'fp8'"):
        ShardedTables(tables, reads, plan=plan, codec="fp8")
    with raises("kernel fbgemm cannot serve table 'item"):
        ShardedTables({"item": TableSpec(rows=8, dim=5)}, reads, plan=_of(topology, 8, 5), kernel="fbgemm")


def unused(seed: int, ranks: int) -> None:
    """An output that a rank's loss does not use has gradient 0 there."""
    case = draw_case(random.Random(seed), ranks)
    tables, whole, rank = case.sharded(), case.whole(), dist.get_rank()
    for number, (batches, grads) in enumerate(steps_of(case, seed, False)):
        skipped = {read.feature: (place + number) % ranks for place, read in enumerate(case.reads)}
        for name, own in grads.items():
            own[skipped[name]].zero_()
        backward(whole(joined(batches)), {name: torch.cat(own) for name, own in grads.items()})
        used = {name: own[rank] for name, own in grads.items() if skipped[name] != rank}
        first = case.reads[0].feature
        backward(tables(batches[rank]), used or {first: grads[first][rank]})
    assert_holds(tables, whole.state(), 1e-9)


def field_sums(seed: int, ranks: int) -> None:
    """Features added up where their rows are train as features added up at home."""
    case = draw_case(random.Random(seed), ranks)
    # all reads in one group, and one width: sums of several features
    tables = {name: spec.model_copy(update={"dim": 4}) for name, spec in case.tables.items()}
    draw = random.Random(seed)
    placed = {
        name: placement(draw.choice(KINDS), spec.rows or 0, 4, case.plan.topology, draw)
        for name, spec in tables.items()
    }
    together = {read.feature: "user" if number % 3 else "item" for number, read in enumerate(case.reads)}
    plan = Plan(topology=case.plan.topology, tables=placed)
    case = dataclasses.replace(case, tables=tables, plan=plan, together=together)
    sums = []
    for group in ("user", "item"):
        pooled = [read for read in case.reads if read.mode != "rows" and together[read.feature] == group]
        cut = [read for read in pooled if len({shard.rows for shard in placed[read.table].shards}) > 1]
        for name, kinds, own in (
            (f"{group} rows", (None, "ids"), cut),
            (f"{group} whole", (None, "ids", "fields"), [read for read in pooled if read not in cut]),
        ):
            if own:
                squares, norm, product = draw.choice(kinds), draw.random() < 0.5, draw.choice([0, 3])
                total = draw.random() < 0.7 or not (squares or product)
                sums.append(
                    FieldSum(
                        name=name,
                        features=tuple(read.feature for read in own),
                        total=total,
                        squares=squares,
                        norm=norm,
                        product=product,
                    )
                )
    check_sums(case, sums, seed)


def check_sums(case: Case, sums: list[FieldSum], seed: int) -> None:
    """Sharded tables with these sums train as whole tables whose rows are added up at home."""
    sharded, rank = case.sharded(field_sums=sums), dist.get_rank()
    counted = {feature for own in sums if own.squares == "ids" for feature in own.features}
    modes = {read.feature: read.mode for read in case.reads}
    by_id = [read.model_copy(update={"mode": "rows"}) if read.feature in counted else read for read in case.reads]
    whole = dataclasses.replace(case, reads=tuple(by_id)).whole()
    generator = torch.Generator().manual_seed(seed)
    matrices, own_matrices, columns = {}, {}, {}
    for own in sums:
        if own.product:
            dims = [case.tables[next(r.table for r in case.reads if r.feature == f)].dim or 0 for f in own.features]
            matrix = torch.randn(own.product, sum(dims), generator=generator, dtype=torch.float64)
            matrices[own.name] = torch.nn.Parameter(matrix.clone())
            # on the ranks the matrix has columns before and behind those of the sum
            own_matrices[own.name] = torch.nn.Parameter(torch.nn.functional.pad(matrix, (2, 1)))
            stops = torch.tensor([2, *dims]).cumsum(0).tolist()
            columns[own.name] = dict(zip(own.features, itertools.pairwise(stops), strict=True))
            sharded.multiply(own.name, own_matrices[own.name], columns[own.name])
    for batches, _ in steps_of(case, seed, True):
        one = joined(batches)
        lengths = {feature: one[feature].offsets.diff() for feature in counted}
        weighed = {f: as_weighted(bags, modes[f], torch.float64) if f in counted else bags for f, bags in one.items()}
        expected = field_sums_reference(whole(weighed), sums, lengths, matrices)
        sizes = {read.feature: [batch[read.feature].num_bags(read.mode) for batch in batches] for read in case.reads}
        sizes |= {name: sizes[own.features[0]] for own in sums for name in own.outputs}
        grads = {name: torch.randn(rows.shape, generator=generator).to(rows) for name, rows in expected.items()}
        found = sharded(batches[rank])
        assert found.keys() == expected.keys()
        for name, rows in expected.items():
            torch.testing.assert_close(
                found[name].detach(), rows.detach().split(sizes[name])[rank], rtol=1e-9, atol=1e-9
            )
        backward(expected, grads)
        backward(found, {name: grad.split(sizes[name])[rank] for name, grad in grads.items()})
        assert_holds(sharded, whole.state(), 1e-9)
        for name, matrix in matrices.items():
            grad, total = matrix.grad, own_matrices[name].grad
            assert grad is not None
            assert total is not None
            dist.all_reduce(total)
            assert not total[:, [0, 1, -1]].any()
            torch.testing.assert_close(total[:, 2:-1], grad, rtol=1e-9, atol=1e-9)
            matrix.grad = own_matrices[name].grad = None


def same_ids(seed: int, ranks: int) -> None:
    """Ids of two features with the same bags travel once to a rank that holds the same rows of both tables."""
    draw = random.Random(seed)
    case = draw_case(draw, ranks)
    tables = {f"{name}:2": spec.model_copy(update={"dim": 1}) for name, spec in case.tables.items()}
    twins = {f"{read.feature}:2": read.feature for read in case.reads}
    reads = [
        read.model_copy(update={"feature": f"{read.feature}:2", "table": f"{read.table}:2"}) for read in case.reads
    ]
    placed = dict(case.plan.tables)
    for name, own in case.plan.tables.items():
        alike = own.replicated or len(own.blocks()) > 1
        placed[f"{name}:2"] = (
            replicated(own.rows, 1)
            if alike
            else own.model_copy(
                update={"dim": 1, "shards": tuple(s.model_copy(update={"columns": (0, 1)}) for s in own.shards)}
            )
        )
    both = dataclasses.replace(
        case,
        tables=case.tables | tables,
        reads=(*case.reads, *reads),
        plan=Plan(topology=case.plan.topology, tables=placed),
        together=case.together | {twin: case.together[f] for twin, f in twins.items() if f in case.together},
        weighted=frozenset(),
    )
    rank, whole = dist.get_rank(), both.whole()
    alone = dataclasses.replace(case, weighted=frozenset()).sharded()
    once, twice = both.sharded(same_ids=twins), both.sharded()
    for batches, grads in steps_of(both, seed, True):
        batches = [{name: batch[twins.get(name, name)] for name in batch} for batch in batches]
        grads = {
            read.feature: [
                torch.ones(b[read.feature].num_bags(read.mode), both.tables[read.table].dim, dtype=torch.float64)
                for b in batches
            ]
            for read in both.reads
        }
        backward(whole(joined(batches)), {name: torch.cat(own) for name, own in grads.items()})
        for tables_ in (once, twice):
            backward(tables_(batches[rank]), {name: own[rank] for name, own in grads.items()})
            assert_holds(tables_, whole.state(), 1e-9)
        backward(
            alone({read.feature: batches[rank][read.feature] for read in case.reads}),
            {read.feature: grads[read.feature][rank] for read in case.reads},
        )
    sent, sent_twice, least = once.wire.take(), twice.wire.take(), alone.wire.take()
    if all(len(own.blocks()) < 2 for own in case.plan.tables.values()):
        for kind in ("ids", "lengths"):
            assert sent.get(kind, 0) == least.get(kind, 0)
            assert sent_twice.get(kind, 0) == 2 * least.get(kind, 0)
        assert sent.get("sizes", 0) == least.get("sizes", 0)
    wrong_bags = {name: Bags(torch.tensor([0]), torch.tensor([0, 1])) for name in batches[rank]}
    wrong_bags[f"{case.reads[0].feature}:2"] = Bags(torch.tensor([1]), torch.tensor([0, 1]))
    with raises(f"feature '{case.reads[0].feature}:2' has not the bags of '{case.reads[0].feature}'"):
        once(wrong_bags)
    with raises("which is read in another way" if case.reads[0].mode != "rows" else "is read by no table"):
        source = "none" if case.reads[0].mode == "rows" else "x"
        other = Read(feature="x", table=case.reads[0].table, mode="rows")
        dataclasses.replace(case, reads=(*case.reads, other)).sharded(same_ids={case.reads[0].feature: source})


def partial_wire(seed: int, ranks: int) -> None:
    """What is added up crosses the wire once, whatever the number of features."""
    rank, last = dist.get_rank(), ranks - 1
    names = ("a", "b", "c")
    tables = {name: TableSpec(rows=8, dim=4) for name in names}
    reads = [Read(feature=name, table=name, mode="sum") for name in names]
    plan = Plan(topology=Topology(ranks=ranks), tables={name: table_wise(8, 4, rank=last) for name in names})
    sums = [FieldSum(name="abc", features=names)]
    sharded = ShardedTables(tables, reads, plan=plan, together=dict.fromkeys(names, "user"), field_sums=sums)
    own = Bags(torch.tensor([1, 7, 3]), torch.tensor([0, 2, 3]))
    sharded(dict.fromkeys(names, own))["abc"].sum().backward()
    sent = sharded.wire.take()
    assert sent.get("gradients", 0) == (32 if rank != last else 0)
    assert sent.get("vectors", 0) == (32 * (ranks - 1) if rank == last else 0)
    row_cut = Plan(topology=plan.topology, tables={name: row_wise(8, 4, ranks=range(ranks)) for name in names})
    for options, message in (
        ({"plan": row_cut, "field_sums": [FieldSum(name="s", features=names, squares="fields")]}, "is cut by rows"),
        ({"field_sums": [FieldSum(name="s", features=("d",))]}, "feature 'd', which is read by no table"),
        ({"field_sums": [FieldSum(name="a", features=names)]}, "has the name of another output"),
        ({"field_sums": sums, "together": {"a": "user"}}, "are not of one group, width and type"),
    ):
        with raises(message):
            ShardedTables(tables, reads, **{"plan": plan, "together": dict.fromkeys(names, "user"), **options})


def _of(topology: Topology, rows: int, dim: int) -> Plan:
    return Plan(topology=topology, tables={"item": table_wise(rows, dim, rank=0)})


@contextlib.contextmanager
def raises(message: str) -> Iterator[None]:
    with pytest.raises(InputError) as caught:
        yield
    assert message in str(caught.value)


ONCE: tuple[Callable[[int, int], None], ...] = (wire, wrong, partial_wire, frames)
DRAWN: tuple[Callable[[int, int], None], ...] = (
    mixed,
    fbgemm,
    repeated,
    waves,
    resharded,
    evaluated,
    codecs,
    unused,
    field_sums,
    same_ids,
)


def main(rank: int, ranks: int, folder: Path, num_seeds: int, every: int) -> None:
    store = dist.FileStore(str(folder / "store"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=60))
    failures = {}
    cases = [(case, 0) for case in ONCE if ranks > 1]
    cases += [(matrix, seed) for seed in range(0, len(KINDS) * len(OPTIMIZERS) * len(MODES), every)]
    cases += [(case, seed) for seed in range(num_seeds) for case in DRAWN]
    for case, seed in cases:
        try:
            case(seed, ranks)
        except Exception:
            failures[f"{case.__name__} {seed}"] = traceback.format_exc()
            break  # the ranks may not be in step any more
    (folder / f"failures-{rank}.json").write_text(json.dumps(failures))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
