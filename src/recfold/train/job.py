"""Which job started a run: torchrun starts ranks again after any failure, and may go on with a run of its own only."""

import json
import os
import platform
from pathlib import Path

JOB = "job.json"


def launcher() -> str | None:
    """The torchrun on this machine that started this rank: the same when it starts it again; None without one.

    Its run id alone will not do: it is `none` where none is given. The folder of its logs is new for every torchrun.
    """
    run_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if run_id is None:
        return None
    above = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", "")).parents  # LOGS/attempt_0/0/error.json
    return " ".join((run_id, platform.node(), str(above[2]) if len(above) > 2 else ""))


def was_restarted() -> bool:
    """Whether torchrun has started the ranks again after one failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def is_started_here(run: Path) -> bool:
    """Whether the job that this rank is of has started the run in a folder."""
    if not (run / "settings.json").exists():
        return False
    try:
        return launcher() in json.loads((run / JOB).read_text(encoding="utf-8"))["launchers"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
