"""A rank as a process: it does what standard input asks, one JSON object a line, and answers in the same way."""

import json
import os
import sys
from datetime import timedelta
from typing import Any, TextIO

import torch
import torch.distributed as dist

from recfold.bench.exchange.rank import Rank, RankTask
from recfold.bench.exchange.tap import tapped
from recfold.spec import InputError

TIMEOUT_S = 300.0


def main() -> None:
    """Serve until standard input ends."""
    # what libraries print must not get between the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    task = RankTask.model_validate_json(sys.argv[1])
    torch.set_num_threads(1)
    timeout = timedelta(seconds=TIMEOUT_S)
    dist.init_process_group(
        "gloo", init_method=f"file://{task.meet}", rank=task.rank, world_size=task.size, timeout=timeout
    )
    try:
        with tapped() as tap:
            rank = Rank(task, tap)
            _answer(answers, rank.about())
            for line in sys.stdin:
                asked = json.loads(line)
                _answer(answers, getattr(rank, asked.pop("do"))(**asked))
    except InputError as error:
        _answer(answers, {"error": str(error)})
    # without destroy_process_group, which waits for ranks that may have gone


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
