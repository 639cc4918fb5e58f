"""recfold: train recommendation models on every distinct thing once."""

__version__ = "0.1.0"
