import doctest
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "folding.md"


def test_the_worked_example_of_the_folding_page_is_true() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.attempted > 15
    assert result.failed == 0
