"""Trains a model on a folded table, and says how good it is: steps, journal, resume, evaluation, prediction."""

from recfold.train.evaluation import Evaluation, evaluate
from recfold.train.journal import read_journal
from recfold.train.metrics import LabelMetrics
from recfold.train.prediction import predict
from recfold.train.progress import TrainProgress
from recfold.train.result import TrainResult
from recfold.train.run import Run, open_run
from recfold.train.settings import RunSettings
from recfold.train.throughput import Throughput, measure_throughput
from recfold.train.training import train

__all__ = [
    "Evaluation",
    "LabelMetrics",
    "Run",
    "RunSettings",
    "Throughput",
    "TrainProgress",
    "TrainResult",
    "evaluate",
    "measure_throughput",
    "open_run",
    "predict",
    "read_journal",
    "train",
]
