"""Verbs cost collect and cost fit: sets timed by a formula, and a network that a plan is rated with."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli

from recfold.plan.cost import collect as collecting
from recfold.plan.cost.measured import Timing
from recfold.plan.cost.samples import EXCHANGES

SETS = 60


class Formula:
    """In place of a stopwatch: one nanosecond a number that is read."""

    def __init__(self, **_: object) -> None:
        pass

    def measure(self, pieces, seed):  # type: ignore[no-untyped-def]
        ms = sum(piece.lookups * piece.dim for piece in pieces) * 1e-6 + 0.1
        return Timing(ms, ms / 3, ms, 0.0, (ms, ms), (2.0, 2.0))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is timed, and no process is started."""
    monkeypatch.setattr(collecting, "Stopwatch", Formula)
    monkeypatch.setattr(collecting, "measure_exchanges", lambda ranks, *_: [{"ranks": ranks}])


@pytest.fixture
def measured(cli: Cli, quick: None, tmp_path: Path) -> Path:
    """A folder of measurements, without exchanges."""
    folder = tmp_path / "measured"
    ran = cli("cost", "collect", "--out", folder, "--sets", SETS, "--ranks", 2)
    assert ran.code == 0, ran.err
    assert f"{SETS + SETS // 5:,} measurements in" in ran.out
    assert json.loads((folder / EXCHANGES).read_text()) == {"ranks": 2}
    (folder / EXCHANGES).unlink()
    return folder


def test_what_is_collected_is_fitted_and_plans_are_rated_with_it(cli: Cli, measured: Path, made: Path) -> None:
    out = measured.parent / "models" / "own.safetensors"
    ran = cli("cost", "fit", measured, "--out", out, "--epochs", 3)
    assert ran.code == 0, ran.err
    assert ran.out.rstrip().endswith("own.safetensors")
    facts = json.loads(out.with_suffix(".json").read_text())
    assert sum(facts["sets"][name] for name in ("train", "unseen")) == SETS
    planned = cli("plan", made / "folded", "--devices", 2, "--search", "ldm", "--cost", out, "--set", "tables.dim=8")
    assert planned.code == 0, planned.err
    assert f"fitted on {facts['hardware']['cpu']}" in planned.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("collect", "--out", "{new}", "--device", "gpu"), 1, "cannot measure on device 'gpu'"),
        (("collect", "--out", "{new}", "--memory-gb", "nan"), 2, "Invalid value for '--memory-gb'"),
        (("collect", "--out", "{new}", "--memory-gb", "inf"), 1, "--memory-gb must be a number above 0; got inf"),
        (("collect", "--out", "{new}", "--seed", "-1"), 2, "Invalid value for '--seed'"),
        (("collect", "--out", "{other}"), 1, "is not empty and holds no measurements"),
        (("fit", "{new}"), 1, "recfold cost collect"),
        (("fit", "{new}", "--out", "{new}.json"), 1, "expected a name that ends in .safetensors"),
        (("fit", "{new}", "--seed", "-1"), 2, "Invalid value for '--seed'"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_wrong_options_measure_and_write_nothing(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    places = {"new": tmp_path / "new", "other": tmp_path / "other"}
    ran = cli("cost", *(argument.format(**places) for argument in arguments))
    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err
    assert "Traceback" not in ran.err
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["other", "file"]
