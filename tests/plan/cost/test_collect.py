"""A collection goes on where it was stopped, refuses what is not its own, and a cost is fitted from it."""

import json
from pathlib import Path

import numpy as np
import pytest

from recfold.plan.cost import collect as collecting
from recfold.plan.cost.collect import Collection, collect, turns
from recfold.plan.cost.fit import errors_of, fit
from recfold.plan.cost.measured import Timing
from recfold.plan.cost.measured_sets import MeasuredSet, read_sets, repeat_noise
from recfold.plan.cost.network import Training
from recfold.plan.cost.neural import load_cost
from recfold.plan.cost.samples import EXCHANGES, SETS, piece_columns, read_samples
from recfold.spec import InputError

SMALL = Collection(sets=60, memory_bytes=1_500_000_000, ranks=())


class Formula:
    """In place of a stopwatch: one nanosecond a number that is read, and a fiftieth more in every second turn."""

    def __init__(self, **_: object) -> None:
        pass

    def measure(self, pieces, seed):  # type: ignore[no-untyped-def]
        ms = sum(piece.lookups * piece.dim for piece in pieces) * 1e-6 * (1 + 0.02 * (seed % 2)) + 0.1
        return Timing(ms, ms / 3, ms, 0.0, (ms, ms), (2.0, 2.0))


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "Stopwatch", Formula)


@pytest.mark.usefixtures("formula")
def test_a_stopped_collection_goes_on(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert collect(whole, SMALL) == len(list(turns(60)))
    lines = (whole / SETS).read_text(encoding="utf-8").splitlines(keepends=True)
    collect(stopped, Collection(sets=60, seconds=0.0, ranks=()))
    (stopped / SETS).write_text("".join(lines[:10]) + lines[10][:50], encoding="utf-8")
    told: list[int] = []
    collect(stopped, SMALL, resume=True, progress=lambda what, done, total, **_: told.append(done))
    assert (stopped / SETS).read_text(encoding="utf-8").splitlines(keepends=True) == lines
    assert told[0] == 11
    assert collect(stopped, SMALL, resume=True) == len(lines)


@pytest.mark.usefixtures("formula")
def test_another_collection_is_refused(tmp_path: Path) -> None:
    own = Collection(sets=1, ranks=())
    collect(tmp_path / "a", own)
    with pytest.raises(InputError, match="add --resume"):
        collect(tmp_path / "a", own)
    with pytest.raises(InputError, match="of another seed"):
        collect(tmp_path / "a", Collection(sets=1, seed=1, ranks=()), resume=True)
    with pytest.raises(InputError, match=r"cannot measure on device 'gpu'; got .*; expected cpu or cuda"):
        collect(tmp_path / "c", Collection(sets=1, device="gpu"))
    assert not (tmp_path / "c").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes").touch()
    with pytest.raises(InputError, match="not empty"):
        collect(tmp_path / "b", own)


@pytest.mark.usefixtures("formula")
def test_a_cost_is_fitted_and_written(tmp_path: Path) -> None:
    collect(tmp_path / "measured", SMALL)
    fitted = fit(tmp_path / "measured", Training(epochs=30, batch_size=16))
    facts = fitted.cost.facts
    assert facts["sets"] == {"train": 48, "unseen": 12, "unseen_large": fitted.errors.num_large}
    assert facts["repeat_noise"]["all"] == pytest.approx(0.02, rel=0.15)
    assert facts["error"]["all"] < 0.3
    assert sum(part[2] for part in facts["error_by_ms"]) == 12
    assert len(facts["curve"]["validation"]) <= 30
    fitted.cost.save(tmp_path / "own.safetensors")
    assert load_cost(tmp_path / "own.safetensors").facts == json.loads(json.dumps(facts))


@pytest.mark.usefixtures("formula")
def test_the_ablation_leaves_out_one_group_after_the_other(tmp_path: Path) -> None:
    collect(tmp_path, SMALL)
    fitted = fit(tmp_path, Training(epochs=2), ablation=True)
    assert list(fitted.ablation) == ["dim", "rows", "pooling", "size", "accesses", "lists"]


@pytest.mark.usefixtures("formula")
def test_too_few_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recfold cost collect"):
        fit(tmp_path)
    collect(tmp_path, Collection(sets=3, ranks=()))
    with pytest.raises(InputError, match="too few sets"):
        fit(tmp_path)


def test_real_sets_and_exchanges_are_measured(tmp_path: Path) -> None:
    what = Collection(sets=2, memory_bytes=300_000_000, ranks=(2,), exchanges=2)
    assert collect(tmp_path, what) == 3
    samples = list(read_samples(tmp_path / SETS))
    assert [(own.number, own.turn, own.unseen) for own in samples] == [(0, 0, True), (1, 0, False), (0, 1, True)]
    assert np.array_equal(samples[0].pieces, samples[2].pieces)
    assert all(min(own.repeats_ms) > 0 for own in samples)
    exchanges = (tmp_path / EXCHANGES).read_text(encoding="utf-8")
    assert len(exchanges.splitlines()) == 4
    collect(tmp_path, what, resume=True)
    assert (tmp_path / EXCHANGES).read_text(encoding="utf-8") == exchanges


def test_a_file_with_other_lines_is_refused(tmp_path: Path) -> None:
    for text, message in (("not json\n", "not JSON"), ('{"a": 1}\n', "no measured set")):
        (tmp_path / SETS).write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            list(read_samples(tmp_path / SETS))


def test_errors_and_noise_are_means_of_shares() -> None:
    def own(number: int, *ms: float) -> MeasuredSet:
        return MeasuredSet(number, True, piece_columns([]), ms)

    sets = [own(0, 10.0), own(1, 40.0, 40.0), own(2, 90.0, 110.0)]
    errors = errors_of(np.array([11.0, 40.0, 0.0]), sets)
    assert (errors.all_sets, errors.large) == pytest.approx((1.1 / 3, 0.5))
    assert (errors.num_sets, errors.num_large) == (3, 2)
    assert repeat_noise(sets) == pytest.approx(0.1)
    assert np.isnan(repeat_noise(sets[:1]))


@pytest.mark.usefixtures("formula")
def test_probes_of_all_sets_say_what_is_quiet(tmp_path: Path) -> None:
    collect(tmp_path, Collection(sets=45, ranks=()))
    lines = [json.loads(line) for line in (tmp_path / SETS).read_text(encoding="utf-8").splitlines()]
    slow = {**lines[1], "repeats_ms": [ms * 2**0.6 for ms in lines[1]["repeats_ms"]], "probes_ms": [4.0, 4.0]}
    (tmp_path / SETS).write_text("".join(json.dumps(o) + "\n" for o in (lines[0], slow, *lines[2:])), encoding="utf-8")
    sets, _ = read_sets(tmp_path)
    assert sets[1].ms == pytest.approx(lines[1]["repeats_ms"][0], rel=1e-3)
