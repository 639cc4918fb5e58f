"""Several FBGEMM ops at the same time train the tables that one after the other trains."""

from collections.abc import Iterator

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
