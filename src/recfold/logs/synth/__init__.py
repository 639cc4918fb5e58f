"""Synthetic logs whose users repeat as planted, with the best reachable AUC known."""

from recfold.logs.synth.generator import SynthResult, synth
from recfold.logs.synth.workloads import WORKLOADS

__all__ = ["WORKLOADS", "SynthResult", "synth"]
