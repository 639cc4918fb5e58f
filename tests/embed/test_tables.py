import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from recfold.embed import Bags, EmbeddingTables
from recfold.embed.fbgemm_kernel import fbgemm_module
from recfold.spec import InputError, Read, TableSpec

needs_fbgemm = pytest.mark.skipif(fbgemm_module()[0] is None, reason=fbgemm_module()[1] or "FBGEMM serves")
KERNELS = ["torch", pytest.param("fbgemm", marks=needs_fbgemm)]
LIKES = Read(feature="likes", table="item", mode="sum")
VIEWS = Read(feature="views", table="item", mode="sum")
BAGS = {"likes": Bags(torch.tensor([7, 9, 4, 7]), torch.tensor([0, 2, 2, 4]))}


def item(kernel: str = "torch", **options: Any) -> EmbeddingTables:
    return EmbeddingTables({"item": TableSpec(rows=10, dim=4)}, [LIKES], kernel=kernel, **options)  # type: ignore[arg-type]


def snapshot(tables: EmbeddingTables) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tables.state().items()}


def unchanged(tables: EmbeddingTables, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in tables.state().items())


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_forward_changes_nothing_and_each_backward_updates_once(kernel: str) -> None:
    tables = item(kernel, optimizer="sgd", learning_rate=0.5)
    before = snapshot(tables)
    out = tables(BAGS)["likes"]
    assert unchanged(tables, before)
    for times in (1, 2):
        out.sum().backward(retain_graph=True)
        counts = torch.tensor([0.0, 0, 0, 0, 1, 0, 0, 2, 0, 1])  # id 7 occurs twice: one update with twice the gradient
        torch.testing.assert_close(tables.state()["item.weight"], before["item.weight"] - times * 0.5 * counts[:, None])


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_is_updated_in_evaluation(kernel: str) -> None:
    tables = item(kernel)
    before = snapshot(tables)
    with torch.no_grad():
        assert not tables(BAGS)["likes"].requires_grad
    tables.eval()
    out = tables(BAGS)["likes"]
    assert not out.requires_grad
    dense = torch.ones(4, requires_grad=True)
    (out * dense).sum().backward()
    assert unchanged(tables, before)
    tables.train()
    tables(BAGS)["likes"].sum().backward()
    assert not unchanged(tables, before)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_output_that_the_loss_does_not_use_updates_nothing(kernel: str) -> None:
    specs = {"item": TableSpec(rows=10, dim=4), "user": TableSpec(rows=10, dim=4)}
    reads = [LIKES, Read(feature="who", table="user", mode="sum")]
    tables = EmbeddingTables(specs, reads, kernel=kernel)  # type: ignore[arg-type]
    before = snapshot(tables)
    out = tables({"likes": BAGS["likes"], "who": BAGS["likes"]})
    out["likes"].sum().backward()
    assert torch.equal(tables.state()["user.weight"], before["user.weight"])
    assert not torch.equal(tables.state()["item.weight"], before["item.weight"])


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_table_read_twice_is_updated_once_with_the_sum(kernel: str) -> None:
    """Two adagrad updates with gradient 1 would move a row by 1 + 1 / sqrt(2); one with gradient 2 moves it by 1."""
    spec = TableSpec(rows=10, dim=4, init=0.0)
    bags = Bags(torch.tensor([3]), torch.tensor([0, 1]))
    tables = EmbeddingTables(
        {"item": spec},
        [LIKES, VIEWS],
        kernel=kernel,
        optimizer="adagrad",
        learning_rate=1.0,  # type: ignore[arg-type]
    )
    out = tables({"likes": bags, "views": bags})
    (out["likes"].sum() + out["views"].sum()).backward()
    torch.testing.assert_close(tables.state()["item.weight"][3], torch.full((4,), -1.0))
    torch.testing.assert_close(tables.state()["item.sum"][3], torch.full((4,), 4.0))


def test_a_row_that_is_read_decays_even_where_its_gradient_is_zero() -> None:
    tables = item(optimizer="sgd", learning_rate=0.5, weight_decay=0.1)
    before = snapshot(tables)["item.weight"]
    (tables(BAGS)["likes"] * 0.0).sum().backward()
    touched = torch.tensor([4, 7, 9])
    torch.testing.assert_close(tables.state()["item.weight"][touched], before[touched] * 0.95)
    assert torch.equal(tables.state()["item.weight"][:4], before[:4])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_first_weights_depend_on_seed_and_name_only(kernel: str, dtype: torch.dtype) -> None:
    specs = {name: TableSpec(rows=100, dim=8) for name in ("a", "b")}
    reads = [Read(feature=name, table=name, mode="sum") for name in specs]

    def first(kernel: str, order: list[str], seed: int = 0) -> dict[str, Tensor]:
        own = [read for read in reads if read.table in order]
        options: Any = {"kernel": kernel, "dtype": dtype, "seed": seed, "together": {"a": "user", "b": "user"}}
        return EmbeddingTables({name: specs[name] for name in order}, own, **options).state()

    torch.manual_seed(0)
    state = first(kernel, ["a", "b"])
    torch.manual_seed(1)
    for other in (first("torch", ["b", "a"]), first(kernel, ["a"])):
        assert torch.equal(other["a.weight"], state["a.weight"])
    assert not torch.equal(state["a.weight"], state["b.weight"])
    assert not torch.equal(state["a.weight"], first(kernel, ["a"], seed=1)["a.weight"])
    weight = state["a.weight"].float()
    assert 0.09 < float(weight.abs().max()) <= 0.1001  # 1 / sqrt(100 rows)
    assert abs(float(weight.mean())) < 0.01


def test_every_dtype_starts_from_the_same_numbers() -> None:
    full = item(dtype=torch.float32).state()["item.weight"]
    assert torch.equal(item(dtype=torch.float64).state()["item.weight"], full.double())
    assert torch.equal(item(dtype=torch.bfloat16).state()["item.weight"], full.bfloat16())


def test_init_bounds_the_first_weights() -> None:
    tables = EmbeddingTables({"item": TableSpec(rows=50, dim=8, init=3.0)}, [LIKES], kernel="torch")
    assert 2.8 < float(tables.state()["item.weight"].abs().max()) <= 3.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_outputs_are_never_of_half_precision(dtype: torch.dtype) -> None:
    out = item(dtype=dtype)(BAGS)["likes"]
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_there_is_nothing_for_another_optimizer() -> None:
    assert list(item().parameters()) == []


def test_a_state_of_other_tables_is_refused_and_nothing_changes() -> None:
    tables = item(optimizer="adagrad")
    before = snapshot(tables)
    right = copy.deepcopy(item(optimizer="adagrad", seed=1).state())
    wrong = [
        ({"item.weight": right["item.weight"]}, "the state belongs to other tables or another update rule; got without "
         "'item.sum'; expected item.weight, item.sum"),
        ({**right, "user.weight": right["item.weight"]}, "the state belongs to other tables or another update rule; "
         "got with 'user.weight'; expected item.weight, item.sum"),
        ({**right, "item.sum": torch.zeros(10)}, "the state's 'item.sum' does not fit its table; got torch.float32 "
         "(10,); expected torch.float32 (10, 4)"),
        ({**right, "item.weight": right["item.weight"].half()}, "the state's 'item.weight' does not fit its table; got "
         "torch.float16 (10, 4); expected torch.float32 (10, 4)"),
    ]  # fmt: skip
    for state, message in wrong:
        with pytest.raises(InputError) as error:
            tables.load_state(state)
        assert str(error.value) == message
        assert unchanged(tables, before)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_wrong_id_is_an_error_before_anything_is_looked_up(kernel: str) -> None:
    with pytest.raises(InputError, match=r"feature 'likes' has an id outside table 'item'; got 10; expected ids in"):
        item(kernel)({"likes": Bags(torch.tensor([3, 10]), torch.tensor([0, 2]))})


@pytest.mark.parametrize("kernel", KERNELS)
def test_unequal_lists_inside_a_group_are_an_error(kernel: str) -> None:
    specs = {"item": TableSpec(rows=10, dim=4), "user": TableSpec(rows=10, dim=4)}
    reads = [LIKES, Read(feature="who", table="user", mode="sum")]
    together = {"likes": "g", "who": "g"}
    tables = EmbeddingTables(specs, reads, kernel=kernel, together=together)  # type: ignore[arg-type]
    bags = {"likes": BAGS["likes"], "who": Bags(torch.tensor([1]), torch.tensor([0, 1]))}
    with pytest.raises(InputError, match=r"features 'likes' and 'who' of group 'g' have different numbers of lists"):
        tables(bags)


@pytest.mark.parametrize(
    "specs, reads, options, message",
    [
        (
            {"item": TableSpec(dim=4)},
            [LIKES],
            {},
            "the number of rows of table 'item' is not known; set tables.item.rows",
        ),
        ({"user": TableSpec(rows=4)}, [LIKES], {}, "feature 'likes' reads unknown table 'item'; expected one of user"),
        ({"item": TableSpec(rows=4)}, [LIKES, LIKES], {}, "feature 'likes' is read twice; expected one read a feature"),
        (
            {"item": TableSpec(rows=4), "user": TableSpec(rows=4)},
            [LIKES],
            {},
            "table 'user' is read by no feature; leave it out",
        ),
        (
            {"item": TableSpec(rows=4)},
            [LIKES],
            {"learning_rate": -1.0},
            "table 'item': learning_rate: Input should be greater than 0; got -1.0",
        ),
        (
            {"item": TableSpec(rows=4)},
            [LIKES],
            {"optimizer": "adagrat"},
            "unknown sparse optimizer 'adagrat'; expected one of adagrad, adam, rowwise_adagrad, sgd; "
            "did you mean 'adagrad'?",
        ),
    ],
)
def test_wrong_use_is_one_clear_error(
    specs: dict[str, TableSpec], reads: list[Read], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        EmbeddingTables(specs, reads, kernel="torch", **options)
    assert str(error.value) == message


def test_no_tables_at_all_is_a_model_without_ids() -> None:
    assert EmbeddingTables({}, [])({}) == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad", "adam"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_gpu_trains_the_same_tables(optimizer: str, dtype: torch.dtype) -> None:
    cpu, gpu = (item(device=device, optimizer=optimizer, dtype=dtype, weight_decay=0.1) for device in ("cpu", "cuda"))
    own = BAGS["likes"]
    moved = {"likes": Bags(own.values.cuda(), own.offsets.cuda())}
    for _ in range(3):
        cpu(BAGS)["likes"].square().sum().backward()
        gpu(moved)["likes"].square().sum().backward()
    for name, tensor in cpu.state().items():
        torch.testing.assert_close(gpu.state()[name].cpu(), tensor)
