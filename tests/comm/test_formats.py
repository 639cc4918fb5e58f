import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from recfold.comm import CODECS, codec_named
from recfold.comm.formats import FORMATS, round_trip, round_trip_reference
from recfold.spec import InputError

BOUNDS = {  # of an entry's error: (relative to itself, relative to the row's largest, absolute)
    "fp32": (0.0, 0.0, 0.0),
    "fp16": (2**-11, 0.0, 2**-25),
    "bf16": (2**-8, 0.0, 0.0),
    "int8": (0.0, 0.5 / 127 * 1.0001, 2e-36),
}
ROWS = npst.arrays(
    "float32",
    st.tuples(st.integers(0, 5), st.integers(1, 6)),
    elements=st.floats(-6e4, 6e4, width=32, allow_subnormal=False),
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FORMATS)
@given(rows=ROWS)
def test_what_arrives_is_within_the_bound_and_as_the_slow_twin_says(name: str, dtype: torch.dtype, rows) -> None:  # type: ignore[no-untyped-def]
    sent = torch.from_numpy(rows.copy()).to(dtype)
    arrived = round_trip(FORMATS[name], sent)
    assert arrived.shape == sent.shape
    assert arrived.dtype == dtype
    own, of_row, absolute = BOUNDS[name]
    largest = sent.abs().amax(1, keepdim=True) if sent.numel() else sent
    assert bool(((arrived - sent).abs() <= own * sent.abs() + of_row * largest + absolute).all())
    if name == "int8":  # x / scale may round the other way where it is close to a half
        scale = largest / 127
        assert bool(((arrived - round_trip_reference(name, sent)).abs() <= 1.001 * scale + 2e-36).all())
    else:
        torch.testing.assert_close(arrived, round_trip_reference(name, sent), rtol=0, atol=0)


@pytest.mark.parametrize("name", FORMATS)
def test_a_slice_of_rows_is_a_message_wherever_it_starts(name: str) -> None:
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    per_row = FORMATS[name].row_bytes(3, torch.float32)
    buffer = torch.empty(7 + 5 * per_row, dtype=torch.uint8)
    message = buffer[7:].view(5, per_row)
    FORMATS[name].encode_(message, rows)
    whole = FORMATS[name].decode(message, 3, torch.float32)
    assert torch.equal(whole, round_trip(FORMATS[name], rows))
    assert torch.equal(FORMATS[name].decode(message[2:4], 3, torch.float32), whole[2:4])
    strided = torch.randn(5, 6)[:, 1:4]
    FORMATS[name].encode_(message, strided)
    assert torch.equal(FORMATS[name].decode(message, 3, torch.float32), round_trip(FORMATS[name], strided.contiguous()))


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_that_is_not_finite_arrives_as_one(name: str) -> None:
    arrived = round_trip(FORMATS[name], torch.tensor([[1.0, float("nan")], [float("inf"), 1.0], [1.0, 2.0]]))
    assert arrived.isfinite().all(1).tolist() == [False, False, True]


def test_bytes_of_a_row() -> None:
    assert [FORMATS[name].row_bytes(64, torch.float32) for name in FORMATS] == [256, 128, 128, 68]
    assert FORMATS["fp32"].row_bytes(64, torch.float64) == 512


def test_a_number_alone_travels_as_it_is_where_a_scale_would_make_it_longer() -> None:
    int8, alone = FORMATS["int8"], torch.tensor([[1.000001], [-3e-39], [float("inf")]])
    assert [int8.row_bytes(dim, torch.float32) for dim in (1, 2)] == [4, 6]
    assert int8.row_bytes(1, torch.float64) == 5
    assert torch.equal(round_trip(int8, alone), alone)


def test_small_gradients_survive_every_codec() -> None:
    gradients = torch.tensor([[3e-9, -1e-9]])
    for codec in CODECS.values():
        torch.testing.assert_close(round_trip(codec.gradients, gradients), gradients, rtol=0.02, atol=0)


def test_an_unknown_codec_names_the_right_ones() -> None:
    with pytest.raises(InputError, match=r"unknown codec 'fp61'; expected one of bf16, fp16, fp32, int8"):
        codec_named("fp61")
