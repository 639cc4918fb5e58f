"""Trains a model on a folded table, and says how good it is: steps, journal, resume, evaluation, prediction."""

from recfold.front_door import make_callable
from recfold.train.evaluation import Evaluation, evaluate
from recfold.train.explain import explain_run
from recfold.train.export import export_run
from recfold.train.journal import read_journal
from recfold.train.loads import loads_of
from recfold.train.metrics import LabelMetrics
from recfold.train.planning import Planned, Planner, PlanRequest, measured_loads
from recfold.train.prediction import predict
from recfold.train.progress import TrainProgress, silent
from recfold.train.run import open_run
from recfold.train.settings import RunSettings
from recfold.train.simulated import CheckedStep, check_simulation
from recfold.train.throughput import Throughput, measure_throughput
from recfold.train.tracing import Hidden
from recfold.train.training import train

__all__ = [
    "CheckedStep",
    "Evaluation",
    "Hidden",
    "LabelMetrics",
    "PlanRequest",
    "Planned",
    "Planner",
    "RunSettings",
    "Throughput",
    "TrainProgress",
    "check_simulation",
    "evaluate",
    "explain_run",
    "export_run",
    "loads_of",
    "measure_throughput",
    "measured_loads",
    "open_run",
    "predict",
    "read_journal",
    "silent",
    "train",
]

make_callable("recfold.train")
