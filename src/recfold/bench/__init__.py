"""Measurements against peers, in the same run and on the same samples: one JSON line each."""

from recfold.bench.known import BENCHES, run_bench
from recfold.bench.measurement import Measurement
from recfold.bench.settings import BenchSettings

__all__ = ["BENCHES", "BenchSettings", "Measurement", "run_bench"]
