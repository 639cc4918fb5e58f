"""Logs in: impressions and outcomes in one canonical form, from files, from known data sets, or synthetic."""

from recfold.logs.adapters import ADAPTERS
from recfold.logs.open import open_logs
from recfold.logs.source import REJECTED, Chunk, LogSource
from recfold.logs.synth import WORKLOADS, SynthResult, synth

__all__ = ["ADAPTERS", "REJECTED", "WORKLOADS", "Chunk", "LogSource", "SynthResult", "open_logs", "synth"]
