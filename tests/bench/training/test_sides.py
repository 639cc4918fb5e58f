"""Every side of every case trains the same model: losses, tables and running sums agree."""

import importlib.util
from typing import Any

import pytest
import torch

from recfold.batch import Batch, Folded, Windows
from recfold.bench.training.cases import OURS
from recfold.bench.training.parity import check_losses
from recfold.bench.training.sides import build_side
from recfold.spec import InputError

NEEDS_TORCHREC = "TorchRec is not installed (`make peers`)"
HAS_TORCHREC = importlib.util.find_spec("torchrec") is not None


def test_a_side_trains_what_recfold_trains(small: Any) -> None:
    for name in small.case.peers:
        if HAS_TORCHREC or not name.startswith("torchrec"):
            check_trains_alike(name, small)


def check_trains_alike(name: str, small: Any) -> None:
    ours, peer = (build_side(side, small.schema, small.run) for side in (OURS, name))
    before = {key: tensor.clone() for key, tensor in ours.state().items()}
    for batch in small.batches:
        expected = ours.step(ours.prepare(batch))
        assert peer.step(peer.prepare(batch)) == pytest.approx(expected, rel=1e-5)
    mine, theirs = ours.state(), peer.state()
    assert mine.keys() == theirs.keys()
    for key, tensor in mine.items():
        torch.testing.assert_close(theirs[key], tensor, rtol=2e-3, atol=2e-5)
        assert not torch.equal(tensor, before[key])


def test_a_batch_keeps_no_caches_between_sides(small: Any) -> None:
    side = build_side(OURS, small.schema, small.run)
    (batch, *_) = small.batches
    prepared = side.prepare(batch)
    for name, group in prepared.groups.items():
        assert group.index.is_identity or group.index is not batch.groups[name].index


def test_sides_that_disagree_are_not_measured(small: Any) -> None:
    class Other:
        def prepare(self, batch: Batch) -> Batch:
            return batch

        def step(self, prepared: Batch) -> float:
            return 0.75

        def state(self) -> dict[str, torch.Tensor]:
            return {}

    sides = {OURS: build_side(OURS, small.schema, small.run), "other": Other()}
    with pytest.raises(
        InputError, match=r"other does not train what recfold trains: another loss at step 1; got 0\.75"
    ):
        check_losses(sides, small.batches)


def test_an_unknown_side_answers_with_the_right_ones(small: Any) -> None:
    with pytest.raises(InputError, match=r"unknown side 'fold-of'; expected one of .*; did you mean 'fold-off'"):
        build_side("fold-of", small.schema, small.run)


@pytest.mark.parametrize("small", [("train-pooled", "pooled")], indirect=True)
def test_encoders_only_needs_encoders(small: Any) -> None:
    with pytest.raises(InputError, match="the model has no history encoders"):
        build_side("encoders-only", small.schema, small.run)


def rows_of(tensor: Any) -> int:
    tensor = tensor.settled() if isinstance(tensor, Windows) else tensor
    return tensor.num_distinct if isinstance(tensor, Folded) else len(tensor)


@pytest.mark.parametrize("small", [("train-sequence", "sequence")], indirect=True)
def test_only_the_encoders_see_distinct_rows(small: Any) -> None:
    side: Any = build_side("encoders-only", small.schema, small.run)
    (batch, *_) = small.batches
    seen: dict[str, tuple[int, int]] = {}

    def note(name: str) -> Any:
        def hook(module: Any, inputs: tuple[torch.Tensor, ...], out: Any) -> None:
            seen[name] = (rows_of(inputs[0]), rows_of(out))

        return hook

    model = side.learner.model.model
    for name, encoder in model.encoders.items():
        encoder.transformer.register_forward_hook(note(name))
    model.dlrm.top.register_forward_hook(note("top"))
    side.step(side.prepare(batch))
    assert seen.pop("top") == (96, 96)
    groups = {f"of_{name}": group.index.num_distinct for name, group in batch.groups.items()}
    assert seen == {name: (groups[name], groups[name]) for name in seen}
    assert len(seen) == 2
    assert all(distinct < 96 for distinct, _ in seen.values())


@pytest.mark.parametrize("small", [("train-pooled", "pooled")], indirect=True)
@pytest.mark.skipif(HAS_TORCHREC, reason="TorchRec is installed")
def test_without_torchrec_one_clear_line(small: Any) -> None:
    with pytest.raises(InputError, match=r"^TorchRec is not installed; got .*; install it with `make peers`$"):
        build_side("torchrec-kjt", small.schema, small.run)


@pytest.mark.skipif(not HAS_TORCHREC, reason=NEEDS_TORCHREC)
def test_a_peer_of_another_model_is_refused(small: Any) -> None:
    wrong, message = (
        ("torchrec-padded", "this peer is a history model")
        if small.case.model == "dlrm"
        else ("torchrec-kjt", "this peer is a DLRM")
    )
    with pytest.raises(InputError, match=message):
        build_side(wrong, small.schema, small.run)


@pytest.mark.skipif(not HAS_TORCHREC, reason=NEEDS_TORCHREC)
def test_what_the_peers_cannot_do_is_said(small: Any) -> None:
    tables = small.run.tables.model_copy(update={"optimizer": "sgd"})
    peer = next(name for name in small.case.peers if name.startswith("torchrec"))
    with pytest.raises(InputError, match="the peers train tables by row-wise AdaGrad without weight decay; got sgd"):
        build_side(peer, small.schema, small.run.model_copy(update={"tables": tables}))
