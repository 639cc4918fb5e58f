"""The bench of planners on tiny tasks, with a clock that is not one."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from recfold.bench.plan.bench import clocked_ms, plan, predicted_ms
from recfold.bench.plan.clocked import ClockedSets, key_of
from recfold.bench.plan.figures import median_interval
from recfold.bench.plan.found import OURS, SIDES, answer
from recfold.bench.plan.tasks import CASES, bench_task
from recfold.bench.settings import BenchSettings
from recfold.bench.work import open_work
from recfold.plan.cost import shipped_cost
from recfold.plan.cost.measured import Timing
from recfold.plan.piece import Piece
from recfold.plan.pool import table_pool, train_and_test
from recfold.spec import InputError

TORCHREC = find_spec("torchrec") is not None
needs_torchrec = pytest.mark.skipif(not TORCHREC, reason="TorchRec is not installed: make peers")


class Clock:
    """Takes as long as the cost says, and a little more each time."""

    def __init__(self) -> None:
        self.calls = 0

    def measure_in_turns(
        self, sets: Sequence[Sequence[Piece]], *, repeats: int | None = None, seed: int = 0
    ) -> list[Timing]:
        return [self._measure(pieces) for pieces in sets]

    def _measure(self, pieces: Sequence[Piece]) -> Timing:
        self.calls += 1
        cost = shipped_cost()
        ms = float(cost.ms(cost.rows(pieces).sum(0)[None])[0]) + 1e-6 * self.calls
        return Timing(ms, 0.5 * ms, ms, 0.0, (ms, ms, ms), ())


def small(folder: Path, **given: object) -> BenchSettings:
    return BenchSettings.model_validate({"tasks": 2, "task_tables": (6, 9), "folder": folder, **given})


def test_a_line_for_every_case_and_side(tmp_path: Path) -> None:
    settings = small(tmp_path)
    clock = Clock()
    with open_work(settings) as work:
        lines = [json.loads(line.to_json()) for line in plan(work, settings, clock)]
    sides = [side for side in SIDES if side != OURS and (TORCHREC or side != "torchrec")]
    assert [(line["case"], line["peer_name"]) for line in lines] == [(case, side) for case in CASES for side in sides]
    for line in lines:
        about = line["settings"]
        assert (line["bench"], line["metric"], line["unit"]) == ("plan", "slowest_ms", "ms")
        assert len(about["ratios"]) == about["tasks"] - about["failed"]["peer"] == 2
        assert about["interval"][0] <= line["ratio"] <= about["interval"][1]
        assert 0 < about["balance"]["ours"] <= 1 <= about["over_mean"]["ours"]
        assert about["gap_over_bound"]["90%"] >= about["gap_over_bound"]["median"] >= -1e-6
        assert about["repeat_noise"] < 0.01
    # by a clock that takes as long as the cost says, nobody is ahead
    assert min(line["ratio"] for line in lines) > 0.999
    assert max(line["ratio"] for line in lines if line["peer_name"] == "random") > 1.05


def test_a_bench_that_goes_on_measures_nothing_twice(tmp_path: Path) -> None:
    settings = small(tmp_path, peers=("random",), cases=("no-splits",), repeats=1)
    first, second = Clock(), Clock()
    with open_work(settings) as work:
        lines = plan(work, settings, first)
        assert first.calls > 0
        sets = work.folder / "plan" / "sets.jsonl"
        sets.write_text(sets.read_text()[:-10])  # killed while it wrote
        again = plan(work, settings, second)
    assert second.calls == 1
    assert again[0].ratio == pytest.approx(lines[0].ratio, rel=1e-3)


def test_what_was_measured_elsewhere_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "sets.jsonl"
    ClockedSets(path, Clock())
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "cpu": "another"}) + "\n")
    with pytest.raises(InputError, match="was measured on other hardware"):
        ClockedSets(path, Clock())


def test_the_mean_of_turns_counts_and_their_difference_is_noise(tmp_path: Path) -> None:
    pieces = (bench_task("no-splits", 0, 0, (6, 6)).tables[0].whole(),)
    clocked = ClockedSets(tmp_path / "sets.jsonl", Clock())
    for turn in range(2):
        clocked.measure([pieces], turn)
    one, other = clocked.each_ms(pieces, range(2))
    assert clocked_ms([pieces, ()], clocked, 2) == [pytest.approx((one + other) / 2), 0.0]
    assert clocked.noise(range(2)) == pytest.approx(abs(one - other) / ((one + other) / 2))
    assert clocked.noise(range(1)) is None
    halves = pieces[0].halves_by_columns()
    assert halves is not None
    # one that was not measured takes what is predicted, scaled as the measured one says
    scale = (one + other) / 2 / predicted_ms([pieces])[0]
    assert clocked_ms([pieces, halves], clocked, 2)[1] == pytest.approx(scale * predicted_ms([halves])[0])
    assert len({key_of(pieces), *(key_of((half,)) for half in halves)}) == 3


def test_tasks_hold_no_table_that_the_cost_was_fitted_on() -> None:
    train, _ = train_and_test(table_pool(0), 0)
    names = {table.name for table in train}
    for number in range(5):
        tasks = [bench_task(case, number, 0) for case in CASES]
        assert not names & {table.name for table in tasks[0].tables}
        assert tasks[0].tables == tasks[1].tables
        assert (tasks[0].topology, tasks[0].memory_bytes) == (tasks[1].topology, tasks[1].memory_bytes)
        assert sum(table.num_bytes for table in tasks[0].tables) <= 8e9


@needs_torchrec
@pytest.mark.parametrize("case", CASES)
def test_torchrecs_plan_tiles_the_tables_and_fits(case: str) -> None:
    task = bench_task(case, 2, 0, (20, 30))
    found = answer("torchrec", task, 0)
    assert found.assignment is not None
    assert found.assignment.rank_bytes(task).max() <= (task.memory_bytes or 0)
    whole = {piece.table.name for piece in found.assignment.pieces if piece.is_whole}
    assert (len(whole) == len(task.tables)) == (case == "no-splits")


def test_a_side_that_fails_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recfold.bench.plan import found

    def failing(*_: object, search: str, **__: object) -> object:
        if search == "random":
            raise InputError("no plan today")
        return real(*_, search=search, **__)

    real = found.find
    monkeypatch.setattr(found, "find", failing)
    settings = small(tmp_path, peers=("random", "dim"), cases=("splits",))
    told: list[str] = []
    with open_work(settings, tell=told.append) as work:
        lines = plan(work, settings, Clock())
    assert told == ["random fails in 2 of 2 tasks: no plan today"]
    assert [line.peer_name for line in lines] == ["dim"]
    assert lines[0].settings["failed"] == {"ours": 0, "peer": 0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cases": ("split",)}, "unknown case of plan 'split'"),
        ({"peers": ("greedy",)}, "unknown peer of plan 'greedy'"),
        ({"peers": ("best",)}, "unknown peer of plan 'best'"),
    ],
)
def test_unknown_names_answer_with_the_right_ones(given: dict[str, object], message: str, tmp_path: Path) -> None:
    settings = small(tmp_path, **given)
    with open_work(settings) as work, pytest.raises(InputError, match=message):
        plan(work, settings, Clock())


def test_without_torchrec_nothing_is_left_to_measure_against(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recfold.bench.plan.bench._installed", lambda work: False)
    settings, clock = small(tmp_path, peers=("torchrec",)), Clock()
    with open_work(settings) as work, pytest.raises(InputError, match=r"no peer of plan is left .*`make peers`"):
        plan(work, settings, clock)
    assert clock.calls == 0


def test_the_interval_of_a_median_narrows_with_values() -> None:
    few, many = ([1.0, 2.0, 3.0] * times for times in (2, 200))
    widths = [high - low for low, high in (median_interval(few), median_interval(many))]
    assert widths[1] < widths[0]
    assert median_interval([2.0]) == (2.0, 2.0)
