"""The command line in this process: arguments in, exit code and printed text out."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from recfold.cli import main


@dataclass(frozen=True)
class Ran:
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["recfold", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated `logs`, their `folded` table and a trained `run`."""
    import recfold

    folder = tmp_path_factory.mktemp("made")
    recfold.synth(folder / "logs", samples=1500, seed=3)
    table = recfold.fold(folder / "logs", folder / "folded")
    small = {"batch_size": 256, "throughput_steps": 1, "log_every": 1}
    settings = recfold.RunSettings.parse(
        {"train": small, "reader": {"workers": 0}, "tables": {"dim": 8}}, "settings of the test"
    )
    recfold.train(table, folder / "run", settings=settings)
    return folder
