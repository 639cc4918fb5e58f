import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recfold.batch import FoldIndex, InverseKeyedJaggedTensor, KeyedJaggedTensor, offsets_of
from recfold.batch.ikjt import from_kjt_reference, slice_reference, to_kjt_reference
from recfold.spec import InputError

EXTREMES = [-(2**63), 2**63 - 1, 0, -1]
FLOATS = [0.0, -0.0, float("nan"), float("inf"), 1.5]
Ids = st.sampled_from([*EXTREMES, 7]) | st.integers(0, 3)
Lists = list[list[int]]


def bits(tensor: Tensor | None) -> object:
    """What must be equal bit for bit, NaN and -0.0 included."""
    if tensor is None:
        return None
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().view(torch.uint8).tolist() if len(tensor) else []


def same(ours: InverseKeyedJaggedTensor, theirs: InverseKeyedJaggedTensor) -> bool:
    names = ("values", "offsets", "inverse", "weights", "start", "length")
    return ours.keys == theirs.keys and all(bits(getattr(ours, n)) == bits(getattr(theirs, n)) for n in names)


def same_kjt(ours: KeyedJaggedTensor, theirs: KeyedJaggedTensor) -> bool:
    names = ("values", "offsets", "weights")
    return ours.keys == theirs.keys and all(bits(getattr(ours, n)) == bits(getattr(theirs, n)) for n in names)


def lengths_tensor(lengths: list[int]) -> Tensor:
    return torch.tensor(lengths, dtype=torch.int64)


@st.composite
def kjts(draw: st.DrawFn, weighted: bool | None = None) -> KeyedJaggedTensor:
    """Lists drawn from a few, so that they repeat."""
    keys = [f"k{i}" for i in range(draw(st.integers(1, 3)))]
    num_samples = draw(st.integers(0, 8))
    pool = draw(st.lists(st.lists(Ids, max_size=3), min_size=1, max_size=4))
    lists = [draw(st.sampled_from(pool)) for _ in range(len(keys) * num_samples)]
    values = [value for row in lists for value in row]
    weights = None
    if draw(st.booleans()) if weighted is None else weighted:
        dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.float16]))
        weights = torch.tensor([draw(st.sampled_from(FLOATS)) for _ in values], dtype=dtype)
    ids = torch.tensor(values, dtype=torch.int64)
    return KeyedJaggedTensor(keys, ids, offsets_of(lengths_tensor([len(row) for row in lists])), weights)


@st.composite
def plain_ikjts(draw: st.DrawFn, num_keys: int | None = None, weighted: bool | None = None) -> InverseKeyedJaggedTensor:
    num_keys = num_keys or draw(st.integers(1, 3))
    num_distinct = draw(st.integers(0, 5))
    lengths = draw(st.lists(st.integers(0, 3), min_size=num_keys * num_distinct, max_size=num_keys * num_distinct))
    return _ikjt(draw, num_keys, num_distinct, lengths, weighted)


@st.composite
def window_ikjts(
    draw: st.DrawFn, num_keys: int | None = None, weighted: bool | None = None
) -> InverseKeyedJaggedTensor:
    num_keys = num_keys or draw(st.integers(1, 3))
    merged = draw(st.lists(st.integers(0, 6), max_size=3))
    windows = []
    for _ in range(draw(st.integers(0, 5)) if merged else 0):
        number = draw(st.integers(0, len(merged) - 1))
        first = draw(st.integers(0, merged[number]))
        last = draw(st.integers(first, merged[number]))
        windows.append((sum(merged[:number]) + first, last - first))
    return _ikjt(draw, num_keys, len(windows), merged * num_keys, weighted, windows)


def _ikjt(
    draw: st.DrawFn,
    num_keys: int,
    num_distinct: int,
    lengths: list[int],
    weighted: bool | None,
    windows: list[tuple[int, int]] | None = None,
) -> InverseKeyedJaggedTensor:
    inverse = None
    if draw(st.booleans()):
        inverse = lengths_tensor(draw(st.lists(st.integers(0, num_distinct - 1), max_size=10)) if num_distinct else [])
    values = torch.arange(sum(lengths)) * 3
    weights = torch.arange(float(len(values))) if (draw(st.booleans()) if weighted is None else weighted) else None
    start = length = None
    if windows is not None:
        start, length = (lengths_tensor([window[i] for window in windows]) for i in (0, 1))
    keys = [f"k{i}" for i in range(num_keys)]
    return InverseKeyedJaggedTensor(
        keys, values, offsets_of(lengths_tensor(lengths)), inverse, weights, start=start, length=length
    )


ikjts = plain_ikjts() | window_ikjts()


@given(ikjts)
def test_to_kjt_equals_the_reference(lists: InverseKeyedJaggedTensor) -> None:
    assert same_kjt(lists.to_kjt(), to_kjt_reference(lists))


@given(kjts())
def test_from_kjt_equals_the_reference_and_goes_back(kjt: KeyedJaggedTensor) -> None:
    folded = InverseKeyedJaggedTensor.from_kjt(kjt)
    assert same(folded, from_kjt_reference(kjt))
    assert same_kjt(folded.to_kjt(), kjt)


@given(ikjts, st.data())
def test_slice_equals_the_reference(lists: InverseKeyedJaggedTensor, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, lists.num_samples))
    stop = data.draw(st.integers(start, lists.num_samples))
    part = lists.slice(start, stop)
    assert same(part, slice_reference(lists, start, stop))
    whole = lists.to_kjt()
    for key in lists.keys:
        values, offsets, weights = whole.bags(key)
        low, high = int(offsets[start]), int(offsets[stop])
        own_values, _, own_weights = part.to_kjt().bags(key)
        assert torch.equal(own_values, values[low:high])
        assert (weights is None) == (own_weights is None)
        if weights is not None and own_weights is not None:
            assert torch.equal(own_weights, weights[low:high])


@given(st.data(), st.booleans(), st.booleans())
def test_concat_is_the_samples_one_after_the_other(data: st.DataObject, windows: bool, weighted: bool) -> None:
    strategy = window_ikjts(2, weighted) if windows else plain_ikjts(2, weighted)
    parts = data.draw(st.lists(strategy, min_size=1, max_size=3))
    whole = InverseKeyedJaggedTensor.concat(parts)
    assert whole.num_samples == sum(part.num_samples for part in parts)
    assert whole.num_distinct == sum(part.num_distinct for part in parts)
    for key in whole.keys:
        values, offsets, weights = whole.to_kjt().bags(key)
        bags = [part.to_kjt().bags(key) for part in parts]
        assert torch.equal(values, torch.cat([bag[0] for bag in bags]))
        assert torch.equal(offsets.diff(), torch.cat([bag[1].diff() for bag in bags]))
        if weights is not None:
            assert torch.equal(weights, torch.cat([bag[2] for bag in bags if bag[2] is not None]))
    # What comes out obeys the rules that a user's tensors must obey.
    InverseKeyedJaggedTensor(
        whole.keys,
        whole.values,
        whole.offsets,
        whole.inverse,
        whole.weights,
        start=whole.start,
        length=whole.length,
    )


@given(ikjts)
def test_lists_and_bags_of_a_key_say_the_same(lists: InverseKeyedJaggedTensor) -> None:
    plain = lists.materialize()
    assert not plain.is_window
    assert plain.num_distinct == lists.num_distinct
    assert same_kjt(plain.to_kjt(), lists.to_kjt())
    for key in lists.keys:
        values, start, length, weights = lists.lists(key)
        own_values, offsets, own_weights = lists.bags(key)
        for u in range(lists.num_distinct):
            low, high = int(start[u]), int(start[u] + length[u])
            assert torch.equal(values[low:high], own_values[offsets[u] : offsets[u + 1]])
            if weights is not None and own_weights is not None:
                assert torch.equal(weights[low:high], own_weights[offsets[u] : offsets[u + 1]])
        for ours, theirs in zip(plain.bags(key), lists.bags(key), strict=True):
            assert bits(ours) == bits(theirs)


@given(ikjts)
def test_stats_count_what_is_there(lists: InverseKeyedJaggedTensor) -> None:
    stats, plain = lists.stats(), lists.to_kjt()
    tensors = [lists.values, lists.offsets, lists.inverse, lists.weights, lists.start, lists.length]
    assert stats.ids == len(lists.values)
    assert stats.ids_plain == len(plain.values)
    assert stats.lists == len(lists.keys) * lists.num_distinct
    assert stats.lists_plain == len(plain.offsets) - 1
    assert stats.stored_bytes == sum(t.nbytes for t in tensors if t is not None)
    plain_tensors = [plain.values, plain.offsets, plain.weights]
    assert stats.plain_bytes == sum(t.nbytes for t in plain_tensors if t is not None)


@given(ikjts)
def test_pickle(lists: InverseKeyedJaggedTensor) -> None:
    assert same(pickle.loads(pickle.dumps(lists)), lists)


def test_stats_of_the_drawn_example() -> None:
    stats = example().stats()
    assert (stats.dedup_factor, stats.ids_factor) == (2.0, 7 / 3)
    assert stats.bytes_factor == (7 * 8 + 5 * 8) / (3 * 8 + 3 * 8 + 4 * 8)


def example() -> InverseKeyedJaggedTensor:
    return InverseKeyedJaggedTensor(["a"], torch.tensor([7, 9, 4]), torch.tensor([0, 2, 3]), torch.tensor([0, 0, 1, 0]))


def one_key(rows: Lists, weights: list[float] | None = None) -> KeyedJaggedTensor:
    values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
    offsets = offsets_of(lengths_tensor([len(row) for row in rows]))
    return KeyedJaggedTensor(["a"], values, offsets, None if weights is None else torch.tensor(weights))


@pytest.mark.parametrize(
    "rows, inverse",
    [
        ([], []),
        ([[]], [0]),
        ([[], [], []], [0, 0, 0]),
        ([[1], [1], [1]], [0, 0, 0]),
        ([[1], [2], [3]], [0, 1, 2]),
        ([[0], [], [0, 0], [0]], [0, 1, 2, 0]),
        ([[1, 2], [2, 1], [1, 2]], [0, 1, 0]),
        ([[2**63 - 1], [-(2**63)], [2**63 - 1]], [0, 1, 0]),
    ],
)
def test_from_kjt_edges(rows: Lists, inverse: list[int]) -> None:
    folded = InverseKeyedJaggedTensor.from_kjt(one_key(rows))
    assert folded.inverse is not None
    assert folded.inverse.tolist() == inverse
    assert same_kjt(folded.to_kjt(), one_key(rows))


def test_weights_are_compared_bit_for_bit() -> None:
    nan = float("nan")
    kjt = one_key([[5]] * 6, [0.0, -0.0, nan, nan, 0.0, -0.0])
    folded = InverseKeyedJaggedTensor.from_kjt(kjt)
    assert folded.inverse is not None
    assert folded.inverse.tolist() == [0, 1, 2, 2, 0, 1]


def test_float_values_are_compared_bit_for_bit() -> None:
    values = torch.tensor([0.0, -0.0, float("nan"), 0.0, float("nan")])
    folded = InverseKeyedJaggedTensor.from_kjt(KeyedJaggedTensor(["a"], values, torch.arange(6)))
    assert folded.inverse is not None
    assert folded.inverse.tolist() == [0, 1, 2, 0, 2]


def test_a_sample_repeats_only_if_every_key_of_the_group_does() -> None:
    kjt = KeyedJaggedTensor(["a", "b"], torch.tensor([1, 1, 1, 5, 6, 5]), torch.arange(7))
    both = InverseKeyedJaggedTensor.from_kjt(kjt)
    only_a = InverseKeyedJaggedTensor.from_kjt(kjt, ["a"])
    turned = InverseKeyedJaggedTensor.from_kjt(kjt, ["b", "a"])
    assert both.inverse is not None
    assert both.inverse.tolist() == [0, 1, 0]
    assert only_a.num_distinct == 1
    assert only_a.keys == ("a",)
    assert turned.keys == ("b", "a")
    assert turned.bags("b")[0].tolist() == [5, 6]


def test_the_same_ids_split_differently_over_keys_differ() -> None:
    kjt = KeyedJaggedTensor(["a", "b"], torch.tensor([1, 1, 1, 1]), torch.tensor([0, 1, 2, 3, 4]))
    shifted = KeyedJaggedTensor(["a", "b"], torch.tensor([1, 1, 1, 1]), torch.tensor([0, 2, 2, 2, 4]))
    assert InverseKeyedJaggedTensor.from_kjt(kjt).num_distinct == 1
    assert InverseKeyedJaggedTensor.from_kjt(shifted).num_distinct == 2


def test_plain_shares_the_tensors() -> None:
    kjt = one_key([[1, 2], [3]])
    lists = InverseKeyedJaggedTensor.plain(kjt)
    assert lists.inverse is None
    assert lists.num_samples == lists.num_distinct == 2
    assert lists.to_kjt().values is kjt.values


def test_moving_keeps_everything() -> None:
    windows = InverseKeyedJaggedTensor(
        ["a", "b"],
        torch.arange(8),
        torch.tensor([0, 4, 8]),
        torch.tensor([0, 1, 1]),
        torch.ones(8),
        start=torch.tensor([0, 1]),
        length=torch.tensor([3, 3]),
    )
    moved = windows.to("meta")
    assert moved.bounds() == (0, 4, 8)
    for tensor in (moved.values, moved.offsets, moved.inverse, moved.weights, moved.start, moved.length):
        assert tensor is not None
        assert tensor.device.type == "meta"
    if not torch.cuda.is_available():
        assert windows.pin_memory() is windows


def test_slice_of_windows_drops_the_middle_of_a_merged_list() -> None:
    lists = InverseKeyedJaggedTensor(
        ["a"],
        torch.arange(10, 20),
        torch.tensor([0, 8, 10]),
        torch.tensor([0, 1, 2]),
        start=torch.tensor([0, 4, 8]),
        length=torch.tensor([2, 3, 2]),
    )
    part = lists.slice(0, 2)
    assert part.values.tolist() == [10, 11, 14, 15, 16]
    assert part.offsets.tolist() == [0, 5]
    assert part.start is not None
    assert part.start.tolist() == [0, 2]


WHAT = "an InverseKeyedJaggedTensor"
VALUES = torch.arange(8)
INVERSE = torch.tensor([0, 0, 1])
START, LENGTH = torch.tensor([0, 1]), torch.tensor([2, 3])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keys": []}, f"{WHAT} has no keys; give the name of at least one feature"),
        ({"keys": ["a", "a"]}, f"key 'a' of {WHAT} is given twice; give each feature once"),
        ({"values": VALUES.view(2, 4)}, f"values of {WHAT} must have one axis; got shape [2, 4]"),
        ({"offsets": torch.tensor([0, 4, 8]).int()}, f"offsets of {WHAT} must be int64; got int32"),
        (
            {"offsets": torch.tensor([0, 8])},
            f"offsets of {WHAT} have a wrong length; got 2; "
            "expected 2 keys x lists + 1, one offset per list of each key and the end",
        ),
        ({"offsets": torch.tensor([1, 4, 8])}, f"offsets of {WHAT} must start at 0; got 1"),
        ({"offsets": torch.tensor([0, 9, 8])}, f"offsets of {WHAT} fall; got 9 then 8 at 2"),
        (
            {"offsets": torch.tensor([0, 4, 7])},
            f"offsets of {WHAT} must end at the number of values; got 7; expected 8",
        ),
        ({"weights": torch.ones(3)}, f"weights of {WHAT} must be one per value; got 3; expected 8"),
        ({"start": None}, f"{WHAT} has length but no start; give both, or neither"),
        ({"length": None}, f"{WHAT} has start but no length; give both, or neither"),
        ({"start": START.int()}, f"start of {WHAT} must be int64; got int32"),
        ({"length": LENGTH.view(1, 2)}, f"length of {WHAT} must have one axis; got shape [1, 2]"),
        ({"start": START[:1]}, f"start and length of {WHAT} differ in length; got 1 and 2"),
        (
            {"offsets": torch.tensor([0, 3, 8])},
            f"the merged lists of {WHAT} must have the same lengths for every key",
        ),
        ({"length": torch.tensor([2, -1])}, f"length of {WHAT} is negative; got -1"),
        (
            {"start": torch.tensor([0, 2])},
            f"window 1 of {WHAT} is out of bounds; got start 2, length 3; expected a window inside the key's 4 values",
        ),
        (
            {"start": torch.tensor([-1, 0])},
            f"window 0 of {WHAT} is out of bounds; got start -1, length 2; expected a window inside the key's 4 values",
        ),
        (
            {"start": torch.tensor([0, 2**63 - 1])},
            f"window 1 of {WHAT} is out of bounds; got start 9223372036854775807, length 3; "
            "expected a window inside the key's 4 values",
        ),
        (
            {"offsets": torch.tensor([0, 2, 4, 6, 8])},
            f"window 1 of {WHAT} crosses the border of a merged list; got start 1, length 3",
        ),
        ({"inverse": INVERSE.view(1, 3)}, f"inverse of {WHAT} must have one axis; got shape [1, 3]"),
        ({"inverse": INVERSE.float()}, f"inverse of {WHAT} must be int64; got float32"),
        (
            {"inverse": INVERSE + 1},
            f"inverse of {WHAT} is out of range; got 2; expected 0 <= inverse < 2, the number of distinct lists",
        ),
        (
            {"inverse": INVERSE - 1},
            f"inverse of {WHAT} is out of range; got -1; expected 0 <= inverse < 2, the number of distinct lists",
        ),
        (
            {"inverse": FoldIndex.identity(3)},
            f"the index of {WHAT} is over another number of lists; got 3; expected 2",
        ),
        (
            {"inverse": INVERSE.to("meta")},
            f"the tensors of {WHAT} lie on different devices; got values on cpu, offsets on cpu, inverse on meta, "
            "start on cpu, length on cpu; move them with .to()",
        ),
    ],
)
def test_broken_invariants(changes: dict[str, object], message: str) -> None:
    arguments = {
        "keys": ["a", "b"],
        "values": VALUES,
        "offsets": torch.tensor([0, 4, 8]),
        "inverse": INVERSE,
        "weights": None,
        "start": START,
        "length": LENGTH,
        **changes,
    }
    with pytest.raises(InputError) as error:
        InverseKeyedJaggedTensor(**arguments)
    assert str(error.value) == message


def test_the_unbroken_one_is_accepted_and_can_skip_the_checks() -> None:
    good = InverseKeyedJaggedTensor(["a", "b"], VALUES, torch.tensor([0, 4, 8]), INVERSE, start=START, length=LENGTH)
    assert (good.num_samples, good.num_distinct, good.num_merged) == (3, 2, 1)
    unchecked = InverseKeyedJaggedTensor(["a"], VALUES, torch.tensor([0, 3]), None, validate=False)
    assert unchecked.num_samples == 1


def test_unknown_key() -> None:
    for call in (example().lists, example().bags):
        with pytest.raises(InputError) as error:
            call("b")
        assert str(error.value).startswith("unknown key 'b'; expected one of a")
    with pytest.raises(InputError, match=r"^unknown key 'b'; expected one of a"):
        InverseKeyedJaggedTensor.from_kjt(example().to_kjt(), ["b"])
    with pytest.raises(InputError, match=r"^key 'a' of a group is given twice"):
        InverseKeyedJaggedTensor.from_kjt(example().to_kjt(), ["a", "a"])


def test_range_outside_the_batch() -> None:
    for start, stop in ((-1, 2), (0, 5), (3, 2)):
        with pytest.raises(InputError, match=r"are not in the batch; expected 0 <= start <= stop <= 4$"):
            example().slice(start, stop)


def test_parts_that_do_not_fit_together() -> None:
    parts = {
        "keys": InverseKeyedJaggedTensor(["b"], VALUES, torch.tensor([0, 8]), None),
        "weights": InverseKeyedJaggedTensor(["a"], VALUES, torch.tensor([0, 8]), None, torch.ones(8)),
        "value type": InverseKeyedJaggedTensor(["a"], torch.ones(8), torch.tensor([0, 8]), None),
        "windows": InverseKeyedJaggedTensor(
            ["a"], VALUES, torch.tensor([0, 8]), None, start=torch.tensor([0]), length=torch.tensor([8])
        ),
        "device": example().to("meta"),
    }
    for what, part in parts.items():
        with pytest.raises(
            InputError, match=rf"^part 1 to concatenate has other {what} than part 0; got .*; expected "
        ):
            InverseKeyedJaggedTensor.concat([example(), part])
    with pytest.raises(InputError) as error:
        InverseKeyedJaggedTensor.concat([])
    assert str(error.value) == "there is nothing to concatenate; give at least one part"
