import importlib.util

import pytest
import torch

from recfold.batch import KeyedJaggedTensor
from recfold.spec import InputError

VALUES = torch.tensor([7, 9, 4, 1, 2])
OFFSETS = torch.tensor([0, 2, 2, 3, 5])
WHAT = "a KeyedJaggedTensor"


def example(weights: bool = False) -> KeyedJaggedTensor:
    return KeyedJaggedTensor(["a", "b"], VALUES, OFFSETS, torch.arange(5.0) if weights else None)


def test_lists_of_one_key() -> None:
    kjt = example(weights=True)
    values, offsets, weights = kjt.bags("b")
    assert values.tolist() == [4, 1, 2]
    assert offsets.tolist() == [0, 1, 3]
    assert weights is not None
    assert weights.tolist() == [2.0, 3.0, 4.0]
    assert example().bags("a")[2] is None
    assert kjt.num_samples == 2
    assert kjt.lengths().tolist() == [2, 0, 1, 2]
    assert kjt.bounds() == (0, 2, 5)


@pytest.mark.parametrize("lengths", [[[2], [0], [1]], [[1, 3], [0, 0], [2, 1]]])
def test_offsets_of_every_key_begin_at_zero(lengths: list[list[int]]) -> None:
    flat = torch.tensor(lengths)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), flat.flatten().cumsum(0)])
    kjt = KeyedJaggedTensor(["a", "b", "c"], torch.arange(int(offsets[-1])), offsets)
    for _ in range(2):  # read again from what is kept
        for key, own, first in zip("abc", lengths, offsets[:: len(lengths[0])].tolist(), strict=False):
            values, starts, _ = kjt.bags(key)
            assert values.tolist() == list(range(first, first + sum(own)))
            assert starts.tolist() == [0, *torch.tensor(own).cumsum(0).tolist()]


def test_lists_first_read_in_inference_mode_train() -> None:
    kjt = KeyedJaggedTensor(["a", "b"], torch.arange(6), torch.tensor([0, 1, 3, 4, 6]))
    with torch.inference_mode():
        kjt.bags("a")
    weight = torch.ones(6, 2, requires_grad=True)
    values, offsets, _ = kjt.bags("b")
    torch.nn.functional.embedding_bag(values, weight, offsets, mode="sum", include_last_offset=True).sum().backward()
    assert weight.grad is not None
    assert weight.grad.sum(1).tolist() == [0.0, 0.0, 0.0, 2.0, 2.0, 2.0]


def test_no_samples() -> None:
    kjt = KeyedJaggedTensor(["a", "b"], torch.empty(0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    assert kjt.num_samples == 0
    assert kjt.bounds() == (0, 0, 0)
    assert kjt.bags("b")[1].tolist() == [0]


def test_moving_keeps_everything() -> None:
    kjt = example(weights=True).to("meta")
    assert kjt.device.type == "meta"
    assert kjt.bounds() == (0, 2, 5)
    assert kjt.weights is not None
    assert kjt.weights.device.type == "meta"
    if not torch.cuda.is_available():
        plain = example()
        assert plain.pin_memory() is plain


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keys": []}, f"{WHAT} has no keys; give the name of at least one feature"),
        ({"keys": ["a", "a"]}, f"key 'a' of {WHAT} is given twice; give each feature once"),
        ({"keys": ["a", ""]}, f"a key of {WHAT} is not a name; got ''; expected a string that is not empty"),
        ({"keys": ["a", 3]}, f"a key of {WHAT} is not a name; got 3; expected a string that is not empty"),
        ({"values": VALUES.view(1, -1)}, f"values of {WHAT} must have one axis; got shape [1, 5]"),
        ({"offsets": OFFSETS.view(1, -1)}, f"offsets of {WHAT} must have one axis; got shape [1, 5]"),
        ({"offsets": OFFSETS.int()}, f"offsets of {WHAT} must be int64; got int32"),
        (
            {"offsets": OFFSETS[:-1]},
            f"offsets of {WHAT} have a wrong length; got 4; "
            "expected 2 keys x lists + 1, one offset per list of each key and the end",
        ),
        (
            {"offsets": OFFSETS[:0]},
            f"offsets of {WHAT} have a wrong length; got 0; "
            "expected 2 keys x lists + 1, one offset per list of each key and the end",
        ),
        ({"offsets": OFFSETS + 1}, f"offsets of {WHAT} must start at 0; got 1"),
        ({"offsets": torch.tensor([0, 3, 2, 3, 5])}, f"offsets of {WHAT} fall; got 3 then 2 at 2"),
        (
            {"offsets": torch.tensor([0, 2, 2, 3, 4])},
            f"offsets of {WHAT} must end at the number of values; got 4; expected 5",
        ),
        ({"weights": torch.ones(4)}, f"weights of {WHAT} must be one per value; got 4; expected 5"),
        ({"weights": torch.ones(5, 1)}, f"weights of {WHAT} must have one axis; got shape [5, 1]"),
        ({"weights": torch.ones(5, dtype=torch.int64)}, f"weights of {WHAT} must be floats; got int64"),
        (
            {"weights": torch.ones(5, device="meta")},
            f"the tensors of {WHAT} lie on different devices; got values on cpu, offsets on cpu, weights on meta; "
            "move them with .to()",
        ),
    ],
)
def test_broken_invariants(changes: dict[str, object], message: str) -> None:
    arguments = {"keys": ["a", "b"], "values": VALUES, "offsets": OFFSETS, "weights": None, **changes}
    with pytest.raises(InputError) as error:
        KeyedJaggedTensor(**arguments)
    assert str(error.value) == message


def test_unknown_key() -> None:
    with pytest.raises(InputError) as error:
        example().bags("c")
    assert str(error.value).startswith("unknown key 'c'; expected one of a, b")


@pytest.mark.skipif(importlib.util.find_spec("torchrec") is not None, reason="TorchRec is installed")
def test_without_torchrec_one_clear_line() -> None:
    for call in (example().to_torchrec, lambda: KeyedJaggedTensor.from_torchrec(None)):
        with pytest.raises(InputError, match=r"^TorchRec is not installed; got .*; install it with `make peers`$"):
            call()


@pytest.mark.skipif(importlib.util.find_spec("torchrec") is None, reason="TorchRec is not installed (`make peers`)")
@pytest.mark.filterwarnings("ignore")
class TestTorchRec:
    @pytest.mark.parametrize("weights", [False, True])
    def test_there_and_back(self, weights: bool) -> None:
        kjt = example(weights)
        theirs = kjt.to_torchrec()
        assert theirs.keys() == ["a", "b"]
        assert theirs.stride() == 2
        assert theirs["b"].to_dense()[1].tolist() == [1, 2]
        back = KeyedJaggedTensor.from_torchrec(theirs)
        assert back.keys == kjt.keys
        assert torch.equal(back.values, kjt.values)
        assert torch.equal(back.offsets, kjt.offsets)
        assert (back.weights is None) == (not weights)

    def test_from_lengths_in_int32(self) -> None:
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor as Theirs

        theirs = Theirs(keys=["a"], values=VALUES, lengths=torch.tensor([2, 0, 3], dtype=torch.int32))
        assert KeyedJaggedTensor.from_torchrec(theirs).offsets.tolist() == [0, 2, 2, 5]

    def test_varying_batch_size_has_no_plain_form(self) -> None:
        from torchrec.sparse.jagged_tensor import KeyedJaggedTensor as Theirs

        theirs = Theirs(
            keys=["a", "b"], values=VALUES, lengths=torch.tensor([2, 0, 3]), stride_per_key_per_rank=[[2], [1]]
        )
        with pytest.raises(InputError, match="has no plain form; expand it by its inverse indices first"):
            KeyedJaggedTensor.from_torchrec(theirs)
