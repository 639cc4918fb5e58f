import json
import stat

import pytest

from recfold.report import report
from recfold.spec import InputError


def test_the_page_goes_into_the_run(run_folder, parse):
    path = report(run_folder)
    assert path == run_folder / "report.html"
    words = parse(path.read_text(encoding="utf-8")).words
    assert "AUC 0.7000" in words
    assert "12 candidate rows in = 7 train samples + 3 validation samples + 2 quarantined ✓" in words


def test_the_page_goes_where_it_is_told(run_folder, table_folder, tmp_path):
    out = tmp_path / "page.html"
    assert report(str(run_folder), str(table_folder), str(out)) == out
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not (run_folder / "report.html").exists()


def test_the_same_run_gives_the_same_bytes_and_nothing_else_is_left(run_folder):
    before = {path.name for path in run_folder.iterdir()}
    first = report(run_folder).read_bytes()
    assert report(run_folder).read_bytes() == first
    assert {path.name for path in run_folder.iterdir()} == before | {"report.html"}


def test_the_page_is_readable_by_others_as_any_file(run_folder):
    plain = run_folder / "plain"
    plain.touch()
    assert stat.S_IMODE(report(run_folder).stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_missing_folder_is_one_clear_line(run_folder, tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*missing/report.html; got No such file or directory"):
        report(run_folder, out=tmp_path / "missing" / "report.html")


def test_a_page_that_cannot_be_put_in_place_leaves_nothing_behind(run_folder, tmp_path):
    (tmp_path / "taken" / "inner").mkdir(parents=True)
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError, match="cannot write"):
        report(run_folder, out=tmp_path / "taken")
    assert set(tmp_path.iterdir()) == before


def test_letters_that_no_file_can_hold_do_not_stop_the_report(run_folder, parse):
    with (run_folder / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "event", "step": 50, "message": "bad \ud800 letter"}) + "\n")
    assert "bad ? letter" in parse(report(run_folder).read_text(encoding="utf-8")).words
