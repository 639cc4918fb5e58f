"""Whole training steps against peers: the same model, the same weights at the start, the same batches in memory."""

from recfold.bench.training.bench import train_pooled, train_sequence

__all__ = ["train_pooled", "train_sequence"]
