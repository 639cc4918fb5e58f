"""Logs in the user's own files: Parquet, CSV or JSONL, as `features.toml` describes them."""

from recfold.logs.generic.open import open_generic

__all__ = ["open_generic"]
