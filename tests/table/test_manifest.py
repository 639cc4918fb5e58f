"""The manifest: what makes a folder a table, and every way in which it is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from recfold.spec import InputError
from recfold.table import Accounting, open_table
from recfold.table.manifest import checksum_of, load_manifest


def rewrite(table: Path, **changes: Any) -> None:
    """Change the manifest and make its checksum right again."""
    path = table / "manifest.json"
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**data, "checksum": checksum_of(data)}))


def test_a_manifest_survives_being_written_and_read(copied: Path) -> None:
    manifest = load_manifest(copied)
    (copied / "manifest.json").write_text(manifest.to_json())
    again = load_manifest(copied)
    assert again.model_copy(update={"checksum": ""}) == manifest.model_copy(update={"checksum": ""})


def test_a_folder_without_manifest_is_no_table(copied: Path) -> None:
    (copied / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"table has no manifest.json; expected a folded table; fold the logs first"):
        open_table(copied)


def test_no_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing does not exist; expected a folded table"):
        open_table(tmp_path / "nothing")


def test_a_newer_format_version_is_a_clear_line(copied: Path) -> None:
    rewrite(copied, format_version=3, recfold_version="9.1")
    with pytest.raises(
        InputError,
        match=r"was folded by recfold 9.1 in format version 3; expected format version 2 or older; upgrade recfold",
    ):
        open_table(copied)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"format_version": 1'])
def test_a_truncated_manifest_is_named(copied: Path, text: bytes) -> None:
    (copied / "manifest.json").write_bytes(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        open_table(copied)


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"format_version": "1"}'])
def test_other_json_is_not_a_manifest(copied: Path, text: str) -> None:
    (copied / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json is not a manifest of recfold"):
        open_table(copied)


def test_a_changed_digit_in_the_manifest_is_found(copied: Path) -> None:
    path = copied / "manifest.json"
    path.write_text(path.read_text().replace('"samples": 5', '"samples": 6', 1))
    with pytest.raises(InputError, match=r"manifest\.json is damaged or was edited; got checksum"):
        open_table(copied)


def damage_found(table: Path) -> bool:
    try:
        load_manifest(table)
    except InputError as error:
        return "manifest.json" in str(error) or "format version" in str(error)
    return False


def test_every_flipped_bit_of_the_manifest_is_found(copied: Path) -> None:
    path = copied / "manifest.json"
    text = path.read_bytes()
    for position in range(0, len(text), 97):
        path.write_bytes(text[:position] + bytes([text[position] ^ 1]) + text[position + 1 :])
        assert damage_found(copied) or load_manifest(copied).to_json().encode() == text  # white space is no damage


def test_an_unknown_key_is_refused(copied: Path) -> None:
    rewrite(copied, surprise=1)
    with pytest.raises(InputError, match=r"manifest\.json is not a manifest of recfold; got .*surprise"):
        open_table(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": {"train": 4}}, "7 candidate rows came in, but there are 4 samples and 1 rows in quarantine"),
        ({"joined": 2}, "3 outcomes came in, but 2 joined and 2 are in quarantine"),
    ],
)
def test_accounting_that_does_not_add_up_is_an_error(golden: Path, change: dict[str, Any], message: str) -> None:
    accounting = load_manifest(golden).accounting
    accounting.check()
    with pytest.raises(RuntimeError, match=message):
        Accounting(**{**accounting.model_dump(), **change}).check()
