"""Run a recipe from logs to an evaluated model, going on with what is finished already."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recfold.fold import fold
from recfold.logs import synth
from recfold.recipes.recipe import Recipe
from recfold.spec import InputError
from recfold.table import FoldedTable, Inspection, inspect, open_table
from recfold.train import Evaluation, TrainProgress, evaluate, silent, train

MANIFEST = "manifest.json"
RECIPE = "recipe.json"


@dataclass(frozen=True)
class Outcome:
    """What a recipe made.

    Args:
        bayes_auc: the best reachable AUC on the held-out samples of generated logs; None where the logs are the user's.
        evaluation: None where the table has no validation samples.
    """

    logs: Path
    bayes_auc: float | None
    table: Path
    inspection: Inspection
    run: Path
    evaluation: Evaluation | None


def run_recipe(
    recipe: Recipe,
    out: Path,
    *,
    logs: Path | None = None,
    progress: TrainProgress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Logs -> fold -> inspect -> train -> evaluate, below one folder: `logs`, `table`, `run`.

    A step whose result is there already is not done again, and an interrupted training goes on, so that the same call
    after an interruption finishes the run.

    Args:
        logs: the user's logs; needed where the recipe generates none.
        say: told what is done next, in a line.
    Raises:
        InputError: logs missing or not wanted; the folder holds another recipe's run; or what one of the steps says.
    """
    if (recipe.synth is None) != (logs is not None):
        raise InputError(
            "this recipe reads your logs" if recipe.synth is None else "this recipe generates its logs",
            todo="give --logs DIR" if recipe.synth is None else "leave --logs out",
        )
    out.mkdir(parents=True, exist_ok=True)
    _check_same(recipe, out / RECIPE)
    source = logs if logs is not None else _generated(recipe, out / "logs", progress, say)
    table = _folded(recipe, source, out / "table", progress, say)
    inspection = inspect(table)
    run = out / "run"
    resume = (run / "settings.json").exists()
    say(f"{'going on with' if resume else 'training into'} {run}")
    result = train(table, run, settings=recipe.run, resume=resume, progress=progress)
    if result.ended == "interrupted":
        raise InputError(result.message)
    evaluation = None
    if "validation" in table.splits():
        say("evaluating")
        evaluation = evaluate(run, table, progress=progress)
    # the generator knows the best AUC of the samples that are held out by default
    bayes_auc = _bayes_auc(source) if recipe.synth is not None and recipe.fold.split_time is None else None
    return Outcome(source, bayes_auc, table.path, inspection, run, evaluation)


def _check_same(recipe: Recipe, path: Path) -> None:
    """A folder holds the results of one recipe: another one would silently be given results that are not its own."""
    text = json.dumps(recipe.model_dump(mode="json"), indent=1) + "\n"
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise InputError(
            f"{path.parent} holds a run with other settings ({path.name})",
            todo="repeat it with the same settings, or name another folder",
        )


def _generated(recipe: Recipe, logs: Path, progress: TrainProgress, say: Callable[[str], None]) -> Path:
    assert recipe.synth is not None
    if (logs / "synth.json").exists():
        say(f"logs are there already: {logs}")
    else:
        say(f"generating {recipe.synth.samples:,} samples of workload {recipe.synth.workload} into {logs}")
        synth(logs, **recipe.synth.model_dump(), progress=progress)
    return logs


def _bayes_auc(logs: Path) -> float | None:
    """What the generator says is reachable on the last tenth by time, which the fold holds out by default."""
    path = logs / "synth.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["bayes_auc_last_tenth"]) if path.exists() else None


def _folded(
    recipe: Recipe, logs: Path, table: Path, progress: TrainProgress, say: Callable[[str], None]
) -> FoldedTable:
    if (table / MANIFEST).exists():
        say(f"the table is there already: {table}")
        return open_table(table)
    say(f"folding {logs} into {table}")
    return fold(logs, table, adapter=recipe.adapter, settings=recipe.fold, progress=progress)
