"""The process that measures the memory of one side: a task from standard input, its answer the last line it prints."""

import json
import sys

from recfold.bench.training.memory import MemoryTask, measure
from recfold.spec import InputError


def main() -> None:
    """Do one `MemoryTask`."""
    answer: dict[str, int | str]
    try:
        answer = {"found": measure(MemoryTask.model_validate_json(sys.stdin.read()))}
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
