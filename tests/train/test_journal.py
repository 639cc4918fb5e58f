"""The journal: one JSON object a line, cut back when a run is resumed."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recfold.spec import InputError
from recfold.train import read_journal
from recfold.train.journal import JOURNAL, Journal, truncate_journal


def test_records_come_back_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write("start", 0, settings={"a": 1})
        journal.write("step", 1, loss=0.5, lr=0.1)
        assert journal.records == 2
    with Journal(tmp_path) as journal:
        assert journal.records == 2
        journal.write("event", 1, message="ümlaut\nline")
    assert read_journal(tmp_path) == [
        {"kind": "start", "step": 0, "settings": {"a": 1}},
        {"kind": "step", "step": 1, "loss": 0.5, "lr": 0.1},
        {"kind": "event", "step": 1, "message": "ümlaut\nline"},
    ]


def test_a_line_cut_off_by_a_kill_is_left_out_and_cut_away(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write("step", 1, loss=0.5)
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"kind": "st')
    assert [record["step"] for record in read_journal(tmp_path)] == [1]
    truncate_journal(tmp_path, 2)
    assert (tmp_path / JOURNAL).read_text().endswith("}\n")


def test_truncating_keeps_the_first_records(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for step in range(5):
            journal.write("step", step)
    truncate_journal(tmp_path, 3)
    assert [record["step"] for record in read_journal(tmp_path)] == [0, 1, 2]
    truncate_journal(tmp_path / "nowhere", 3)
    assert not (tmp_path / "nowhere").exists()


def test_damage_in_the_middle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"step": 1}\noops\n{"step": 2}\n')
    with pytest.raises(InputError, match=r"journal\.jsonl line 2 is not JSON; got 'oops'"):
        read_journal(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        read_journal(tmp_path / "nowhere")


def test_tensorboard_gets_the_same_figures_and_forgets_what_is_repeated(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for step in (1, 2, 3):
            journal.write("step", step, loss=float(step), note="text")
        journal.write("evaluation", 3, labels={"click": {"auc": 0.75, "ne": None}})
    with Journal(tmp_path, purge_step=1) as journal:
        journal.write("step", 2, loss=20.0)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("step/loss")] == [(1, 1.0), (2, 20.0)]
    assert set(board.Tags()["scalars"]) <= {"step/loss", "evaluation/labels/click/auc"}
