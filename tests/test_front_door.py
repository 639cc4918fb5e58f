"""What a verb does is one call from Python, under the verb's name, whatever was imported before."""

import importlib
import subprocess
import sys

import recfold


def test_every_name_of_the_front_door_is_there() -> None:
    for name in recfold.__all__:
        assert callable(getattr(recfold, name)), name
        assert name in dir(recfold)


def test_a_verb_stays_callable_after_its_room_was_imported() -> None:
    for name in ("fold", "train", "report"):
        room = importlib.import_module(f"recfold.{name}")
        assert getattr(recfold, name) is room
        assert callable(room)
        assert room.__doc__ is not None
        assert room.__dict__[name].__doc__ in room.__doc__


def test_folding_does_not_import_torch() -> None:
    script = "import sys, recfold; recfold.fold, recfold.synth, recfold.open_table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
