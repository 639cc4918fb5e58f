"""docs/FORMAT.md is true, and the golden table of every released version can still be read."""

import doctest
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from recfold.fold import FoldSettings, fold
from recfold.table import open_table
from recfold.table.expand import expand_rows, expand_rows_reference

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VERSIONS = sorted(path.name for path in (HERE / "golden").iterdir())


@pytest.fixture(scope="module")
def make_golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden", HERE / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected_rows(golden: ModuleType) -> list[dict[str, object]]:
    """The golden samples by hand: what was shown, without the duplicate, with the click and the user's segment."""
    rows = []
    for values in [golden.IMPRESSIONS[i] for i in (0, 1, 2, 3, 4, 6)]:
        row = dict(zip(golden.COLUMNS, values, strict=True))
        row["label.click"] = 1.0 if row["request"] == 102 else 0.0
        row["feature.segment"] = 7 if row["user"] == "u1" else None
        rows.append(row)
    return rows


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_table_opens_verifies_and_expands_to_the_known_rows(make_golden: ModuleType, version: str) -> None:
    table = open_table(HERE / "golden" / version)
    table.verify()
    assert [row for rows in table.expand() for row in rows.to_pylist()] == expected_rows(make_golden)


def test_folding_the_golden_logs_today_gives_the_same_content(make_golden: ModuleType, tmp_path: Path) -> None:
    how = FoldSettings(row_group_samples=3, partitions=1)
    today = fold(make_golden.golden_source(), tmp_path / "table", settings=how)
    golden = open_table(HERE / "golden" / VERSIONS[-1])
    assert today.manifest.accounting == golden.manifest.accounting
    for split in golden.splits():
        for new, old in zip(today.parts(split), golden.parts(split), strict=True):
            assert new.num_row_groups == old.num_row_groups
            assert all(new.row_group(i).equals(old.row_group(i)) for i in range(old.num_row_groups))
            assert all(new.dictionary(group).equals(old.dictionary(group)) for group in old.dictionary_groups())


@pytest.mark.parametrize("version", VERSIONS)
def test_expanding_equals_its_slow_twin(version: str) -> None:
    table = open_table(HERE / "golden" / version)
    for split in table.splits():
        for part in table.parts(split):
            dictionaries = {group: part.dictionary(group) for group in part.dictionary_groups()}
            for index in range(part.num_row_groups):
                raw = part.row_group(index)
                fast = expand_rows(raw, table.manifest, dictionaries, split).to_pylist()
                assert fast == expand_rows_reference(raw, table.manifest, dictionaries, split)


def test_the_worked_example_of_the_format_page_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(str(ROOT / "docs" / "FORMAT.md"), module_relative=False, encoding="utf-8")
    assert result.attempted > 10
    assert result.failed == 0
