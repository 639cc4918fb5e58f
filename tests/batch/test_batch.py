import itertools
import pickle
from typing import Any

import pytest
import torch

from recfold.batch import Batch, FoldIndex, Group, InverseKeyedJaggedTensor, offsets_of
from recfold.spec import InputError


def user_group() -> Group:
    index = FoldIndex(torch.tensor([0, 0, 1, 2, 2]), 3)
    lists = InverseKeyedJaggedTensor(
        ["a", "b"],
        torch.tensor([1, 2, 3, 4, 5, 6, 7]),
        offsets_of(torch.tensor([2, 0, 1, 1, 2, 1])),
        index,
        torch.arange(7.0),
    )
    spans = InverseKeyedJaggedTensor(["times"], torch.tensor([0.5, 1.5, 2.5]), torch.tensor([0, 1, 1, 3]), index)
    dense = torch.tensor([[1.0, 10.0, 11.0], [2.0, 20.0, 21.0], [3.0, 30.0, 31.0]])
    return Group(index, lists, spans, dense, ("age", "vector"), (1, 2))


def window_group() -> Group:
    index = FoldIndex(torch.tensor([0, 1, 1, 2, 2]), 3)
    windows = InverseKeyedJaggedTensor(
        ["item", "action"],
        torch.arange(14),
        torch.tensor([0, 4, 7, 11, 14]),
        index,
        start=torch.tensor([0, 1, 4]),
        length=torch.tensor([3, 3, 2]),
    )
    return Group(index, windows)


def sample_group() -> Group:
    lists = InverseKeyedJaggedTensor(["candidate"], torch.arange(5) + 100, torch.arange(6), None)
    return Group(
        FoldIndex.identity(5), lists, dense=torch.arange(5.0).unsqueeze(1), dense_keys=("x",), dense_widths=(1,)
    )


def example(weighted: bool = True) -> Batch:
    return Batch(
        {"user": user_group(), "history": window_group(), "sample": sample_group()},
        labels=torch.tensor([[0.0, 1.0]] * 5),
        label_names=("click", "like"),
        weight=torch.arange(5.0) if weighted else None,
        keys={"request": torch.arange(5), "session": torch.arange(5) // 2},
    )


def content(batch: Batch) -> list[dict[str, Any]]:
    """Everything that each sample sees, in plain Python."""
    samples: list[dict[str, Any]] = [{} for _ in range(batch.num_samples)]
    for b, sample in enumerate(samples):
        sample["labels"] = dict(zip(batch.label_names, batch.labels[b].tolist(), strict=True))
        sample["weight"] = None if batch.weight is None else batch.weight[b].item()
        sample |= {name: key[b].item() for name, key in batch.keys.items()}
        for name, group in batch.groups.items():
            u = b if group.index.inverse is None else int(group.index.inverse[b])
            for part in (group.lists, group.dense_lists):
                for key in part.keys if part else ():
                    assert part is not None
                    values, start, length, weights = part.lists(key)
                    low, high = int(start[u]), int(start[u] + length[u])
                    sample[name, key] = (
                        values[low:high].tolist(),
                        None if weights is None else weights[low:high].tolist(),
                    )
            for key in group.dense_keys:
                sample[name, key] = group.dense_of(key)[u].tolist()
    return samples


def test_example_holds_what_it_says() -> None:
    sample = content(example())[3]
    assert sample["user", "a"] == ([3], [2.0])
    assert sample["user", "b"] == ([7], [6.0])
    assert sample["user", "times"] == ([1.5, 2.5], None)
    assert sample["user", "vector"] == [30.0, 31.0]
    assert sample["history", "action"] == ([11, 12], None)
    assert sample["sample", "candidate"] == ([103], None)


@pytest.mark.parametrize("weighted", [True, False])
def test_expand_says_the_same_in_plain_form(weighted: bool) -> None:
    batch = example(weighted)
    plain = batch.expand()
    assert content(plain) == content(batch)
    for group in plain.groups.values():
        assert group.index.is_identity
        for part in (group.lists, group.dense_lists):
            assert part is None or (part.inverse is None and not part.is_window and part.num_distinct == 5)
    assert plain.groups["user"].dense is not batch.groups["user"].dense


@pytest.mark.parametrize("start, stop", [(0, 5), (1, 4), (3, 5), (2, 2), (0, 1)])
@pytest.mark.parametrize("weighted", [True, False])
def test_slice(start: int, stop: int, weighted: bool) -> None:
    batch = example(weighted)
    part = batch.slice(start, stop)
    assert content(part) == content(batch)[start:stop]
    user = part.groups["user"]
    assert user.lists is not None
    assert user.index is user.lists.index
    assert user.num_distinct == len({[0, 0, 1, 2, 2][b] for b in range(start, stop)})
    assert user.dense is not None
    assert len(user.dense) == user.num_distinct


@pytest.mark.parametrize("cuts", [[0, 5], [0, 2, 5], [0, 1, 1, 3, 5], [0, 5, 5]])
def test_concat_of_slices_is_the_batch(cuts: list[int]) -> None:
    batch = example()
    parts = [batch.slice(start, stop) for start, stop in itertools.pairwise(cuts)]
    whole = Batch.concat(parts)
    assert content(whole) == content(batch)
    assert whole.groups["sample"].index.is_identity


def test_concat_of_folded_and_plain_parts() -> None:
    batch = example()
    parts = [Batch(dict(batch.expand().groups), batch.labels, batch.label_names, batch.weight, batch.keys), batch]
    del parts[0].groups["history"], parts[1].groups["history"]
    assert content(Batch.concat(parts)) == content(parts[0]) + content(parts[1])


def test_stats_per_group() -> None:
    stats = example().stats()
    assert stats["user"].dedup_factor == 5 / 3
    assert stats["sample"].dedup_factor == 1.0
    assert (stats["history"].ids, stats["history"].ids_plain) == (14, 26)
    for name, group in example().groups.items():
        parts = [part for part in (group.lists, group.dense_lists) if part is not None]
        tensors = [
            tensor for part in parts for tensor in (part.values, part.offsets, part.weights, part.start, part.length)
        ]
        tensors += [group.dense, group.index.inverse]
        assert stats[name].stored_bytes == sum(tensor.nbytes for tensor in tensors if tensor is not None)
        plain = group.expand().stats()
        assert stats[name].plain_bytes == plain.stored_bytes == plain.plain_bytes
        assert (stats[name].ids_plain, stats[name].lists_plain) == (plain.ids, plain.lists)


def test_moving_copies_the_index_of_a_group_once() -> None:
    moved = example().to("meta")
    assert moved.device.type == "meta"
    assert moved.weight is not None
    assert moved.weight.device.type == moved.keys["request"].device.type == "meta"
    user = moved.groups["user"]
    assert user.lists is not None
    assert user.dense_lists is not None
    assert user.lists.index is user.dense_lists.index is user.index
    assert user.dense is not None
    assert user.dense.device.type == user.lists.device.type == "meta"
    batch = example()
    if not torch.cuda.is_available():
        assert batch.pin_memory() is batch
        assert batch.groups["user"].pin_memory() is batch.groups["user"]


def test_pickle() -> None:
    batch = example()
    copy = pickle.loads(pickle.dumps(batch))
    assert content(copy) == content(batch)
    assert copy.groups["user"].lists.index is copy.groups["user"].index


def test_batch_travels_between_processes() -> None:
    context = torch.multiprocessing.get_context("spawn")
    queues = {"there": context.Queue(), "back": context.Queue(), "received": context.Queue()}
    # The child cannot import this file by name under every way to run the tests, so it gets its two lines as text.
    echo = "back.put(there.get(timeout=60))\nreceived.get(timeout=60)"
    process = context.Process(target=exec, args=(echo, queues))
    process.start()
    try:
        queues["there"].put(example())
        assert content(queues["back"].get(timeout=60)) == content(example())
    finally:
        queues["received"].put(True)
        process.join(timeout=60)
    assert process.exitcode == 0


def test_unknown_dense_feature() -> None:
    with pytest.raises(InputError, match=r"^unknown key 'size'; expected one of age, vector"):
        user_group().dense_of("size")


LISTS = InverseKeyedJaggedTensor(["a"], torch.arange(2), torch.arange(3), None)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"lists": LISTS},
            "lists of a group do not fit its index; got 2 samples of 2 distinct rows; expected 3 samples of 3",
        ),
        (
            {"dense_lists": LISTS},
            "dense_lists of a group do not fit its index; got 2 samples of 2 distinct rows; expected 3 samples of 3",
        ),
        (
            {"dense": torch.ones(3, 2), "dense_keys": ("x",), "dense_widths": ()},
            "a group needs one width per dense feature; got 0 widths for 1 features",
        ),
        (
            {"dense_keys": ("x",), "dense_widths": (1,)},
            "a group names dense feature 'x' but has no dense values",
        ),
        (
            {"dense": torch.ones(3, 2), "dense_keys": ("x",), "dense_widths": (1,)},
            "dense values of a group have a wrong shape; got [3, 2]; "
            "expected [3, 1], distinct rows by the sum of widths",
        ),
        (
            {"dense": torch.ones(3, 2), "dense_keys": ("x", "x"), "dense_widths": (1, 1)},
            "key 'x' of the dense part of a group is given twice; give each feature once",
        ),
    ],
)
def test_groups_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Group(FoldIndex.identity(3), **arguments)
    assert str(error.value) == message


def test_lists_of_a_group_have_its_inverse() -> None:
    lists = InverseKeyedJaggedTensor(["a"], torch.arange(2), torch.arange(3), torch.tensor([0, 1, 1]))
    message = (
        "lists of a group have another inverse than its index; build them with inverse=index, so that they share it"
    )
    with pytest.raises(InputError) as error:
        Group(FoldIndex(torch.tensor([0, 0, 1]), 2), lists)
    assert str(error.value) == message
    square = InverseKeyedJaggedTensor(["a"], torch.arange(2), torch.arange(3), torch.tensor([1, 0]))
    with pytest.raises(InputError) as error:
        Group(FoldIndex.identity(2), dense_lists=square)
    assert str(error.value) == f"dense_{message}"
    assert Group(FoldIndex(torch.tensor([0, 1, 1]), 2), lists).num_samples == 3


def test_group_on_two_devices() -> None:
    index = FoldIndex(torch.tensor([0, 0]), 1)
    with pytest.raises(InputError) as error:
        Group(index, dense=torch.ones(1, 1, device="meta"), dense_keys=("x",), dense_widths=(1,))
    assert str(error.value) == (
        "the tensors of a group lie on different devices; got index on cpu, dense on meta; move them with .to()"
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"labels": torch.ones(5)},
            "labels of a batch have a wrong shape; got [5]; expected [samples, 1], one column per label name",
        ),
        (
            {"labels": torch.ones(5, 2)},
            "labels of a batch have a wrong shape; got [5, 2]; expected [samples, 1], one column per label name",
        ),
        (
            {"labels": torch.ones(4, 1)},
            "group 'sample' has another number of samples than the labels; got 5; expected 4",
        ),
        ({"weight": torch.ones(4)}, "'weight' of a batch has a wrong shape; got [4]; expected [5]"),
        ({"keys": {"user": torch.ones(5, 1)}}, "'user' of a batch has a wrong shape; got [5, 1]; expected [5]"),
        (
            {"weight": torch.ones(5, device="meta")},
            "the tensors of a batch lie on different devices; got labels on cpu, weight on meta; move them with .to()",
        ),
    ],
)
def test_batches_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    arguments = {"labels": torch.ones(5, 1), "label_names": ("click",), **changes}
    with pytest.raises(InputError) as error:
        Batch({"sample": sample_group()}, **arguments)
    assert str(error.value) == message


def test_range_outside_the_batch() -> None:
    with pytest.raises(InputError) as error:
        example().slice(3, 6)
    assert str(error.value) == "samples [3, 6) are not in the batch; expected 0 <= start <= stop <= 5"


def test_batches_that_hold_different_things() -> None:
    batch = example()
    others = {
        "groups": Batch({"user": user_group()}, batch.labels, batch.label_names, batch.weight, batch.keys),
        "labels": Batch(batch.groups, batch.labels, ("click", "buy"), batch.weight, batch.keys),
        "keys": Batch(batch.groups, batch.labels, batch.label_names, batch.weight),
        "weights": example(weighted=False),
    }
    for what, other in others.items():
        with pytest.raises(
            InputError, match=rf"^batch 1 to concatenate has other {what} than batch 0; got .*; expected "
        ):
            Batch.concat([batch, other])
    with pytest.raises(InputError) as error:
        Batch.concat([])
    assert str(error.value) == "there is nothing to concatenate; give at least one batch"
    with pytest.raises(InputError) as error:
        Group.concat([window_group(), user_group()])
    assert str(error.value) == (
        "part 1 to concatenate holds other features than part 0; "
        "got lists ['a', 'b'], dense lists ['times'], dense {'age': 1, 'vector': 2}; "
        "expected lists ['item', 'action'], dense lists [], dense {}"
    )
