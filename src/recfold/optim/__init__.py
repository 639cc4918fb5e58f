"""Update rules of embedding tables: exact, once per touched row, the same bits for any number of threads.

Legend: R rows of the table, D embedding dim, N bags, V ids in all bags, T touched (distinct) rows.

    values_V    7 9 | 7        ids of N = 2 bags
    grad_ND     a   | b        gradient of each bag's sum
    rows_T      7      9       sorted, distinct
    grad_TD     a + b  a       summed in the order of the ids, then one update of each row
"""

from recfold.optim.rowwise_adagrad import update_with_norms_
from recfold.optim.sparse_optimizer import LOW_PRECISION, SparseOptimizer, State, UpdateSettings, decay_
from recfold.optim.touched import Joined, Touched, find_touched, sum_rows, sum_touched
from recfold.optim.update import SPARSE_OPTIMIZERS, new_state, sparse_optimizer, update_rows_, update_touched_

__all__ = [
    "LOW_PRECISION",
    "SPARSE_OPTIMIZERS",
    "Joined",
    "SparseOptimizer",
    "State",
    "Touched",
    "UpdateSettings",
    "decay_",
    "find_touched",
    "new_state",
    "sparse_optimizer",
    "sum_rows",
    "sum_touched",
    "update_rows_",
    "update_touched_",
    "update_with_norms_",
]
