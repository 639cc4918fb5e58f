"""What the data side hands to the compute side: the distinct lists of a batch, and which one each sample uses.

Legend: B samples in the batch, U distinct lists, F features of the group, V ids in all lists, M merged lists,
D embedding dim.

    session or dictionary group (here F = 1)

        sample     0      1      2      3        (B = 4)
        ids       [7,9]  [7,9]  [4]    [7,9]
        inverse_B  0      0      1      0        -> distinct list
        offsets    0 ----------- 2 --- 3         (U = 2)
        values_V   7 9           4               (V = 3, not 7)

    window group: distinct lists are windows of merged lists, the same windows for every feature

        sample     0      1       2        3     (B = 4)
        ids       [3,1]  [3,1]   [1,4]    [4,8]
        inverse_B  0      0       1        2     -> distinct window
        start_U    0      length_U  2            (U = 3)
                     1              2
                       2            2
        offsets    0 ------- 4                   (M = 1)
        values_V   3 1 4 8                       (V = 4, not 8)

    lookups on distinct lists, copied out to samples as late as the algebra allows

        pooled_UD  = embedding_bag(values_V, weight_RD, offsets)
        pooled_BD  = Folded(pooled_UD, index).unfold()          backward: a segmented sum in fixed order

With several features lists are feature-major: list (k, u) has number k * U + u.
"""

from recfold.batch.added import Added
from recfold.batch.batch import Batch
from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded import Folded, LazyConcat, TensorLike, Windows, as_folded, plain, share_masks, shared_masks
from recfold.batch.folded.explain import explain
from recfold.batch.folded.explanation import Explanation, Lookup, Operation
from recfold.batch.folded_sequence import FoldedSequence
from recfold.batch.group import Group
from recfold.batch.ikjt import InverseKeyedJaggedTensor
from recfold.batch.jagged import jagged_index_select, offsets_of
from recfold.batch.kjt import KeyedJaggedTensor
from recfold.batch.lazy_features import LazyFeatures
from recfold.batch.model_inputs import ModelInputs
from recfold.batch.segmented_sum import SegmentedSum
from recfold.batch.stats import FoldStats

__all__ = [
    "Added",
    "Batch",
    "Explanation",
    "FoldIndex",
    "FoldStats",
    "Folded",
    "FoldedSequence",
    "Group",
    "InverseKeyedJaggedTensor",
    "KeyedJaggedTensor",
    "LazyConcat",
    "LazyFeatures",
    "Lookup",
    "ModelInputs",
    "Operation",
    "SegmentedSum",
    "TensorLike",
    "Windows",
    "as_folded",
    "explain",
    "jagged_index_select",
    "offsets_of",
    "plain",
    "share_masks",
    "shared_masks",
]
