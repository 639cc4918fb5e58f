import json
from pathlib import Path

import pytest

from recfold.report.read_run import read_history, read_run
from recfold.spec import InputError, Schema


def test_a_whole_run_is_read(run_folder, table_folder):
    facts = read_run(run_folder)
    assert facts.notes == ()
    assert facts.table == str(table_folder)
    assert facts.settings.train.epochs == 3
    assert facts.versions == {"torch": "2.13.0"}
    assert facts.circumstances == {"device": "cpu", "threads": "2", "embedding kernels": "torch (1 table)"}
    assert facts.fold is not None
    assert facts.fold.inspection.samples == 10
    assert facts.fold.cut == "1970-01-01 00:00:05.000001 UTC"
    assert facts.fold.dedup_factor == pytest.approx(10 * 2 / (4 + 10))
    assert facts.fold.value_factor == pytest.approx((40 + 10) / (16 + 10))
    assert facts.evaluation is not None
    assert facts.evaluation.labels["click"].model.auc == 0.7
    assert facts.throughput is not None
    assert facts.throughput.samples_per_s["on"] == (2.0,)
    assert not facts.own_schema


def test_what_is_not_there_yet_is_no_error(run_folder):
    (run_folder / "evaluation.json").unlink()
    (run_folder / "throughput.json").unlink()
    facts = read_run(run_folder)
    assert facts.evaluation is None
    assert facts.throughput is None
    assert facts.notes == ()


@pytest.mark.parametrize("name", ["evaluation.json", "throughput.json"])
@pytest.mark.parametrize("text", ["{", "[]", '{"nonsense": 1}', "\xff"])
def test_a_damaged_part_becomes_a_note_that_names_the_file(run_folder, name, text):
    (run_folder / name).write_bytes(text.encode("latin-1"))
    notes = read_run(run_folder).notes
    assert len(notes) == 1
    assert name in notes[0]


def test_a_journal_that_is_missing_becomes_a_note(run_folder):
    (run_folder / "journal.jsonl").unlink()
    facts = read_run(run_folder)
    assert facts.history.steps == ()
    assert "journal.jsonl" in facts.notes[0]


def test_a_journal_line_cut_off_by_a_kill_is_left_out(run_folder):
    with (run_folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    facts = read_run(run_folder)
    assert len(facts.history.steps) == 2
    assert facts.notes == ()


def test_a_table_that_was_moved_becomes_a_note(run_folder, table_folder):
    table_folder.rename(table_folder.with_name("moved"))
    facts = read_run(run_folder)
    assert facts.fold is None
    assert str(table_folder) in facts.notes[0]
    moved = read_run(run_folder, table_folder.with_name("moved"))
    assert moved.fold is not None
    assert moved.notes == ()


def test_another_table_is_told_apart(run_folder, make_table, tmp_path):
    other = make_table(tmp_path / "other", samples=12)
    notes = read_run(run_folder, other).notes
    assert notes == (f"The table {other} is not the one that this run was trained on: its manifest differs.",)


def test_transforms_of_the_runs_own_are_noticed(run_folder):
    path = run_folder / "schema.json"
    schema = Schema.parse(json.loads(path.read_text()), "test")
    ids = schema.features["ids"].model_copy(update={"transforms": ()})
    changed = schema.model_copy(update={"features": {**schema.features, "ids": ids}})
    path.write_text(changed.model_dump_json())
    assert read_run(run_folder).own_schema


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a run"):
        read_run(tmp_path)


def test_damaged_settings_are_refused(run_folder):
    (run_folder / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json"):
        read_run(run_folder)


def test_history_keeps_what_a_reader_wants_to_know():
    history = read_history(
        [
            {"kind": "start", "step": 0},
            {"kind": "step", "step": 20, "loss": 0.6, "lr": 0.1},
            {"kind": "step", "step": 40, "loss": None},
            {"kind": "evaluation", "step": 40, "labels": {"a": {"ne": 0.9, "auc": None}, "b": {"ne": 0.8}}},
            {"kind": "resume", "step": 40},
            {"kind": "event", "step": 50, "message": "stopped"},
            {"kind": "end", "step": 50, "reason": "interrupted", "seconds": 12.4},
        ]
    )
    assert [point.step for point in history.steps] == [20]
    assert [(point.label, point.ne, point.auc) for point in history.validation] == [("a", 0.9, None), ("b", 0.8, None)]
    assert history.events == (
        "step 40: resumed",
        "step 50: stopped",
        "step 50: ended (interrupted) after 12 s",
    )


def test_only_the_last_start_says_where_it_ran(run_folder):
    resumed = {"kind": "resume", "step": 40, "versions": {"torch": "2.12.0"}, "device": "cuda:0", "threads": 8}
    with (run_folder / "journal.jsonl").open("a") as file:
        file.write(json.dumps(resumed) + "\n")
    facts = read_run(run_folder)
    assert facts.versions == {"torch": "2.12.0"}
    assert facts.circumstances == {"device": "cuda:0", "threads": "8"}


def test_paths_may_be_relative(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder.parent)
    assert read_run(Path(run_folder.name)).run == run_folder.name
