"""Several FBGEMM ops at the same time train the tables that one after the other trains."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from recfold.embed import Bags, EmbeddingTables
from recfold.embed.fbgemm_kernel import fbgemm_module
from recfold.spec import InputError, Read, TableSpec

pytestmark = pytest.mark.skipif(fbgemm_module()[0] is None, reason=fbgemm_module()[1])

NAMES = [f"t{number}" for number in range(7)]
SPECS = {name: TableSpec(rows=50, dim=8 if number % 2 else 12) for number, name in enumerate(NAMES)}
READS = [Read(feature=name, table=name, mode="sum") for name in NAMES]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def batch(step: int) -> dict[str, Bags]:
    generator = torch.Generator().manual_seed(step)
    found = {}
    for number, name in enumerate(NAMES):
        bags = 30 if number < 5 else 11
        lengths = torch.randint(0, 6, (bags,), generator=generator)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        found[name] = Bags(torch.randint(0, 50, (int(offsets[-1]),), generator=generator), offsets)
    return found


def built(num_threads: int) -> EmbeddingTables:
    torch.set_num_threads(num_threads)
    together = {name: "user" if number < 5 else "item" for number, name in enumerate(NAMES)}
    return EmbeddingTables(SPECS, READS, together=together, seed=3, learning_rate=0.1)


def trained(num_threads: int, used: list[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    tables = built(num_threads)
    for step in range(5):
        out = tables(batch(step))
        sum((out[name] * out[name]).sum() for name in used).backward()
    with torch.no_grad():
        return tables(batch(9)), {name: tensor.clone() for name, tensor in tables.state().items()}


@pytest.mark.parametrize("used", [NAMES, ["t2"], ["t6", "t0"]])
def test_weights_are_bit_equal_at_any_number_of_threads(threads: None, used: list[str]) -> None:
    outputs, state = trained(1, used)
    for num_threads in (2, 5):
        others = trained(num_threads, used)
        assert all(torch.equal(outputs[name], others[0][name]) for name in NAMES)
        assert all(torch.equal(tensor, others[1][name]) for name, tensor in state.items())
    assert state["t2.sum" if "t2" in used else "t0.sum"].sum() > 0  # something was trained


def _adjacent(rows: int, widths: list[int]) -> list[Tensor]:
    return list(torch.randn(rows, sum(widths) + 3)[:, 2:-1].split(widths, 1))


GRADIENTS = {
    "side by side": _adjacent,
    "side by side in another order": lambda rows, widths: _adjacent(rows, widths[::-1])[::-1],
    "side by side, a column between": lambda rows, widths: [
        part[:, 1:] for part in _adjacent(rows, [width + 1 for width in widths])
    ],
    "of memories of their own": lambda rows, widths: [torch.randn(rows, width) for width in widths],
    "one line for all rows": lambda rows, widths: list(torch.randn(1, sum(widths)).expand(rows, -1).split(widths, 1)),
    "next to each other in memories of their own": lambda rows, widths: [
        list(torch.randn(rows, sum(widths)).split(widths, 1))[number] for number in range(len(widths))
    ],
    "lines of other lengths": lambda rows, widths: [
        memory.as_strided((rows, width), (40 + number, 1), number * width)
        for memory in [torch.randn(10_000)]
        for number, width in enumerate(widths)
    ],
    "every other entry": lambda rows, widths: [
        memory.as_strided((rows, width), (40, 2), number * width)
        for memory in [torch.randn(10_000)]
        for number, width in enumerate(widths)
    ],
    "overlapping lines": lambda rows, widths: list(
        torch.randn(rows * 2 + sum(widths)).as_strided((rows, sum(widths)), (2, 1)).split(widths, 1)
    ),
    "transposed": lambda rows, widths: [torch.randn(width, rows).t() for width in widths],
    "one number": lambda rows, widths: [torch.randn(1, 1).expand(rows, width) for width in widths],
    "some of none": lambda rows, widths: [
        part if number % 2 else torch.zeros(0) for number, part in enumerate(_adjacent(rows, widths))
    ],
}
"""Gradients of the tables of an op, in the order of its tables; one without entries stands for none."""


@pytest.mark.parametrize("drawn", GRADIENTS.values(), ids=list(GRADIENTS))
def test_gradients_may_lie_anywhere(threads: None, drawn: Callable[[int, list[int]], list[Tensor]]) -> None:
    specs = {name: TableSpec(rows=50, dim=8) for name in NAMES}
    states = []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        together = dict.fromkeys(NAMES, "user")
        tables = EmbeddingTables(specs, READS, together=together, seed=3, learning_rate=0.1)
        bags = {name: batch(0)["t0"] for name in NAMES}
        order = NAMES[::3] + NAMES[1::3] + NAMES[2::3]  # the tables of one op next to each other, at two threads
        assert num_threads == 1 or [table.name for op in tables._ops for table in op.tables] == order
        torch.manual_seed(0)
        grads = dict(zip(order, drawn(30, [8] * len(NAMES)), strict=True))
        out = tables(bags)
        used = [name for name in NAMES if grads[name].numel()]
        torch.autograd.backward([out[name] for name in used], [grads[name] for name in used])
        states.append({name: tensor.clone() for name, tensor in tables.state().items()})
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert states[0][f"{used[-1]}.sum"].sum() > 0


@pytest.mark.parametrize("counts", [(5, 9, 0, 3, 9, 1, 4), (0,) * 7, (0, 0, 4, 0, 0, 0, 0), (6,) * 7])
def test_reads_of_one_row_an_id_of_any_number(threads: None, counts: tuple[int, ...]) -> None:
    reads = [Read(feature=name, table=name, mode="rows") for name in NAMES]
    bags = {
        name: Bags((torch.arange(count) * 7) % 50, torch.tensor([0, count]))
        for name, count in zip(NAMES, counts, strict=True)
    }
    found = []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        together = dict.fromkeys(NAMES, "user")
        tables = EmbeddingTables(SPECS, reads, together=together, seed=3, learning_rate=0.1)
        out = tables(bags)
        assert [len(out[name]) for name in NAMES] == list(counts)
        sum((out[name] * torch.arange(1, 1 + len(out[name])).unsqueeze(1)).sum() for name in NAMES[::2]).backward()
        found.append([*(out[name].detach() for name in NAMES), *(own.clone() for own in tables.state().values())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_tables_are_spread_over_ops_where_there_are_threads(threads: None) -> None:
    assert [len(op.tables) for op in built(1)._ops] == [5, 2]
    assert [len(op.tables) for op in built(2)._ops] == [2, 2, 1, 2]


def test_a_second_backward_is_refused(threads: None) -> None:
    loss = built(2)(batch(0))["t0"].sum()
    loss.backward(retain_graph=True)
    with pytest.raises(InputError, match="embedding tables got a second backward"):
        loss.backward()


def test_an_error_in_another_thread_is_raised(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = built(2)

    def fails(*_: object) -> None:
        raise RuntimeError("no memory")

    for op in tables._ops:
        monkeypatch.setattr(op.kernel, "_op", fails)
    with pytest.raises(RuntimeError, match="no memory"):
        tables(batch(0))
