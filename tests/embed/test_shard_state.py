import pytest
import torch

from recfold.embed import EmbeddingTables, ShardState, table_sizes, whole_state
from recfold.embed.resolved_table import DRAWN_AT_ONCE, initialise_, initialise_shard_, resolve_all
from recfold.embed.shard_state import load_shards, whole_shards
from recfold.spec import InputError, Read, Shard, TableSpec

DEFAULTS = {"optimizer": "adam", "learning_rate": 0.1, "eps": 1e-8, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.99}


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("rows, dim", [(10, 4), (2 * DRAWN_AT_ONCE // 7, 7)])
def test_a_shard_starts_with_the_numbers_of_the_whole_table(rows: int, dim: int, dtype: str) -> None:
    table = resolve_all({"item": TableSpec(rows=rows, dim=dim, dtype=dtype)}, DEFAULTS, None)["item"]  # type: ignore[arg-type]
    whole = torch.empty(rows, dim, dtype=table.dtype)
    initialise_(whole, table, seed=3)
    cut = rows * 5 // 8
    for own_rows, columns in [((0, rows), (0, dim)), ((cut, rows), (0, dim)), ((1, cut), (1, 3)), ((0, 1), (3, dim))]:
        shard = Shard(rank=0, rows=own_rows, columns=columns)
        part = torch.empty(shard.num_rows, shard.dim, dtype=table.dtype)
        initialise_shard_(part, table, shard, seed=3)
        assert torch.equal(part, whole[slice(*own_rows), slice(*columns)])


def adam_state() -> dict[str, torch.Tensor]:
    tables = EmbeddingTables(
        {"item": TableSpec(rows=6, dim=4)}, [Read(feature="a", table="item", mode="sum")], optimizer="adam"
    )
    for tensor in tables.state().values():
        tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape) + 1)
    return tables.state()


def cut(state: dict[str, torch.Tensor], rows: tuple[int, int], columns: tuple[int, int]) -> ShardState:
    parts = {}
    for name, tensor in state.items():
        where = [slice(*rows), slice(*columns)][: tensor.dim()]
        parts[name.removeprefix("item.")] = tensor[tuple(where)].clone()
    return ShardState("item", rows, columns, parts)


def test_rectangles_are_put_together_and_cut_again() -> None:
    state = adam_state()
    parts = [cut(state, (0, 4), (0, 1)), cut(state, (4, 6), (0, 1)), cut(state, (0, 6), (1, 4))]
    put_together = whole_state(parts)
    assert put_together.keys() == state.keys()
    assert all(torch.equal(put_together[name], tensor) for name, tensor in state.items())
    into = cut({name: torch.zeros_like(tensor) for name, tensor in state.items()}, (1, 5), (0, 3))
    load_shards([into], iter(parts))
    expected = cut(state, (1, 5), (0, 3))
    assert all(torch.equal(into.tensors[name], tensor) for name, tensor in expected.tensors.items())
    assert into.name == "item[1:5,0:3]"


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_sizes_are_the_bytes_that_tables_take(dtype: str, optimizer: str) -> None:
    specs = {"item": TableSpec(rows=6, dim=4, dtype=dtype)}  # type: ignore[arg-type]
    for float64 in (False, True):
        tables = EmbeddingTables(
            specs,
            [Read(feature="a", table="item", mode="sum")],
            optimizer=optimizer,
            dtype=torch.float64 if float64 else None,
        )
        taken = sum(t.numel() * t.element_size() for t in tables.state().values() if t.dim())
        assert table_sizes(specs, optimizer=optimizer, float64=float64) == {"item": (6, 4, taken // 6)}


def test_what_does_not_fit_is_one_clear_error() -> None:
    state = adam_state()
    (into,) = whole_shards(state)
    with pytest.raises(InputError, match=r"holds only 16 of 24 entries of 'item\[0:6,0:4\]'"):
        load_shards([into], [cut(state, (0, 4), (0, 4))])
    sgd = ShardState("item", (0, 6), (0, 4), {"weight": state["item.weight"]})
    with pytest.raises(InputError, match=r"table 'item' is of another update rule; got weight; expected weight, step"):
        load_shards([into], [sgd])
    half = ShardState("item", (0, 6), (0, 4), {k: v.half() for k, v in into.tensors.items()})
    with pytest.raises(InputError, match=r"'weight' of table 'item' does not fit; got torch.float16"):
        load_shards([into], [half])
