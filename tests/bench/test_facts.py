"""What a figure says about where it comes from."""

from pathlib import Path

import pytest

from recfold.bench import facts


def test_the_commit_is_that_of_the_code_or_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = facts.commit()
    assert found is None or 12 <= len(found) <= len("0" * 12 + "-dirty")
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(facts, "_PACKAGE", tmp_path)
    assert facts.commit() is None


def test_a_digest_of_code_changes_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(facts, "_PACKAGE", tmp_path)
    before = facts.code_digest("room")
    assert facts.code_digest("room") == before
    (tmp_path / "room" / "a.py").write_text("x = 2\n")
    assert facts.code_digest("room") != before
