"""Starts the ranks of one machine, and starts them again when one of them dies.

torch's elastic agent, what `torchrun` runs, starts the ranks, watches them and ends the others when one fails. What is
decided here is whether to start again: after a rank was killed or lost another, yes, from the last checkpoint; after a
rank has refused its input, no.
"""

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from recfold.spec import num_cpus

LOST_RANK = 75
"""Exit status of a rank that has lost another one: the job may be started again."""
SECONDS_TO_STOP = "120"


def launch(
    arguments: Sequence[str],
    *,
    nproc: int,
    restarts: int,
    on_restart: Callable[[Sequence[str]], Sequence[str]],
    say: Callable[[str], None],
) -> int:
    """Run `python -m recfold ARGUMENTS` as `nproc` ranks on this machine.

    Args:
        restarts: how often a job is started again of which a rank has died.
        on_restart: the arguments of the next start, of those of the last.
        say: is told in one line of every rank that has died.
    Returns:
        The exit status of the job: 0, that of the first rank that failed, or 130 after a signal.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(num_cpus() // nproc, 1)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SECONDS_TO_STOP)  # for a step and a checkpoint
    for attempt in range(restarts + 1):
        status, cause = _run_once(arguments, nproc)
        if status in (0, 1, 2, 130):
            return status
        if attempt < restarts:
            say(f"{cause}; starting again from the last checkpoint ({attempt + 1} of {restarts} times)")
            arguments = on_restart(arguments)
    say(f"{cause}; given up after {restarts} restarts")
    return 1


def _run_once(arguments: Sequence[str], nproc: int) -> tuple[int, str]:
    """Exit status of the job, and what a rank died of."""
    with tempfile.TemporaryDirectory(prefix="recfold-launch-") as logs:  # torch leaves its own one behind
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=nproc,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "recfold", *arguments)
        except ChildFailedError as error:
            return _verdict({rank: failure.exitcode for rank, failure in error.failures.items()})
        except SignalException:
            return 130, "stopped by a signal"
    return 0, ""


def _verdict(exit_codes: dict[int, int]) -> tuple[int, str]:
    """What a job's failed ranks come to: bad input before an interruption before a death.

    >>> _verdict({0: 75, 1: -9})
    (137, 'rank 1 was killed by signal 9')
    >>> _verdict({0: 75, 1: 1})[0]
    1
    """
    for status in (1, 2, 130):
        if status in exit_codes.values():
            return status, ""
    killed = [rank for rank, code in exit_codes.items() if code < 0]
    if killed:
        signal = -exit_codes[killed[0]]
        return 128 + signal, f"rank {killed[0]} was killed by signal {signal}"
    rank, code = next(iter(exit_codes.items()))
    return code, f"rank {rank} has lost another rank" if code == LOST_RANK else f"rank {rank} exited with {code}"
