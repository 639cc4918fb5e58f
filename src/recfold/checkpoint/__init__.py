"""Saves what a run needs to go on, atomically and without pickle, and never loads a torn one."""

from recfold.checkpoint.export import export_table, table_names
from recfold.checkpoint.flatten import flatten, unflatten
from recfold.checkpoint.pieces import Piece, StoredTensor, StoredTensors
from recfold.checkpoint.random_state import random_state, set_random_state
from recfold.checkpoint.store import Found, best, latest, load, save, save_tensors, saved_steps, step_path
from recfold.checkpoint.writer import Writer, Writers

__all__ = [
    "Found",
    "Piece",
    "StoredTensor",
    "StoredTensors",
    "Writer",
    "Writers",
    "best",
    "export_table",
    "flatten",
    "latest",
    "load",
    "random_state",
    "save",
    "save_tensors",
    "saved_steps",
    "set_random_state",
    "step_path",
    "table_names",
    "unflatten",
]
