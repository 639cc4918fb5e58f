"""Which files a log is in."""

from pathlib import Path

import pytest

from recfold.logs.generic.files import FORMATS, find_files, format_of
from recfold.spec import InputError


def names(folder: Path, glob: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_files(folder, glob, "logs.impressions")]


def test_files_come_sorted_and_folders_stand_for_their_files(logs) -> None:
    for name in ("b/2.csv", "b/10.csv", "b/_SUCCESS", "b/.hidden.csv", "b/c/1.csv", "a.csv", "other.csv"):
        logs.text(name, "")
    assert names(logs.path, "b/*.csv") == ["b/10.csv", "b/2.csv"]
    assert names(logs.path, "b*") == ["b/10.csv", "b/2.csv", "b/c/1.csv"]
    assert names(logs.path, "[ab]*") == ["a.csv", "b/10.csv", "b/2.csv", "b/c/1.csv"]
    assert names(logs.path, "**/1.csv") == ["b/c/1.csv"]


def test_a_pattern_that_matches_nothing(logs) -> None:
    logs.text("day-1.parquet", "")
    with pytest.raises(InputError) as error:
        names(logs.path, "impressions*")
    assert str(error.value) == (
        f"no file below {logs.path} matches logs.impressions = 'impressions*'; got in the folder: day-1.parquet; "
        "set logs.impressions to the files' pattern"
    )


@pytest.mark.parametrize("glob", ["/etc/*", ""])
def test_a_pattern_that_is_none(logs, glob: str) -> None:
    with pytest.raises(InputError, match="is not a pattern of files below") as error:
        names(logs.path, glob)
    assert "logs.impressions" in str(error.value)


def test_formats_by_ending() -> None:
    endings = {"parquet": ["a.parquet", "a.PQ"], "csv": ["a.csv.gz", "a.tsv"], "jsonl": ["a.ndjson.zst", "a.json"]}
    for format, names in endings.items():
        for name in names:
            assert format_of((Path(name),), None) == format
    for format in FORMATS:
        assert format_of((Path("a.dat"), Path("b.csv")), format) == format


def test_an_ending_that_says_nothing() -> None:
    with pytest.raises(InputError) as error:
        format_of((Path("logs/a.dat"),), None)
    assert str(error.value) == (
        "cannot tell the format of logs/a.dat by its ending; "
        "expected .parquet, .pq, .csv, .tsv, .jsonl, .ndjson, .json; "
        'set format = "parquet", "csv" or "jsonl" in [logs], or narrow the pattern'
    )


def test_two_formats_in_one_log() -> None:
    with pytest.raises(InputError) as error:
        format_of((Path("a.csv"), Path("b.parquet")), None)
    assert str(error.value) == "one log in two formats: a.csv is csv, b.parquet is parquet; narrow the pattern"
