"""From a schema and settings to tables and a model, and from a batch to what they read."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from recfold.batch import Batch, Folded, FoldedSequence, Group, InverseKeyedJaggedTensor, ModelInputs, as_folded
from recfold.embed import Bags, EmbeddingTables
from recfold.embed import table_sizes as embed_table_sizes
from recfold.model import InputShape, build_model, model_reads, model_weights
from recfold.plan import TableSize
from recfold.spec import InputError, Read, ReadMode, Schema, TableSpec
from recfold.train.settings import RunSettings

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Tables(Protocol):
    """Embedding tables of this process, or its part of those of all ranks; see `EmbeddingTables`."""

    def __call__(self, bags: Mapping[str, Bags]) -> dict[str, Tensor]: ...

    def train(self, mode: bool = True) -> object: ...

    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, state: Mapping[str, Tensor]) -> None: ...

    def kernels(self) -> Mapping[str, str]: ...

    def notes(self) -> tuple[str, ...]: ...


MakeTables = Callable[..., Tables]
"""What builds them: takes the arguments of `EmbeddingTables`."""


@dataclass(frozen=True)
class Assembled:
    """A model and the embedding tables that it reads.

    Args:
        model: the dense part, a plain module of `ModelInputs`.
        tables: every embedding table.
        reads: which feature looks up which table, and how; `weights_name` of a feature reads its first-order weights.
        dense, dense_sequences: features that the model gets as floats, in schema order.
        groups: feature -> the group that stores it.
        dtype: of the dense part.
        weighed: name of a read of first-order weights -> its feature.
    """

    model: nn.Module
    tables: Tables
    reads: tuple[Read, ...]
    dense: tuple[str, ...]
    dense_sequences: tuple[str, ...]
    groups: Mapping[str, str]
    dtype: torch.dtype
    weighed: Mapping[str, str]

    def inputs(self, batch: Batch) -> ModelInputs:
        """Look up every table once and put the model's inputs together, folded as the batch is.

        Raises:
            InputError: the batch lacks a feature.
        """
        lists = lists_of(batch)
        looked_up = self.tables({read.feature: bags_of(self.source(read), read.mode, lists) for read in self.reads})
        pooled: dict[str, Tensor | Folded] = {}
        weights: dict[str, Tensor | Folded] = {}
        sequences: dict[str, dict[str, FoldedSequence]] = {}
        for read in self.reads:
            feature = self.source(read)
            own = lists[feature]
            values = looked_up[read.feature].to(self.dtype)
            if read.mode == "rows":
                features = sequences.setdefault(self.groups[feature], {})
                features[feature] = _sequence(own, feature, values, features)
            else:
                (pooled if feature == read.feature else weights)[feature] = as_folded(values, own.index)
        return ModelInputs(
            pooled,
            sequences,
            self._dense(batch),
            self._dense_sequences(batch),
            num_samples=batch.num_samples,
            weights=weights,
        )

    def source(self, read: Read) -> str:
        """The feature whose ids a read looks up."""
        return self.weighed.get(read.feature, read.feature)

    def rows_touched(self, batch: Batch) -> int:
        """Distinct rows of all tables that the batch reads, and so updates."""
        lists = lists_of(batch)
        values: dict[str, list[Tensor]] = {}
        for read in self.reads:
            feature = self.source(read)
            values.setdefault(read.table, []).append(lists[feature].lists(feature)[0])
        return sum(len(torch.cat(parts).unique()) for parts in values.values())

    def _dense(self, batch: Batch) -> dict[str, Tensor | Folded]:
        owner: dict[str, Group] = {key: group for group in batch.groups.values() for key in group.dense_keys}
        _check_there(self.dense, owner)
        return {name: as_folded(owner[name].dense_of(name).to(self.dtype), owner[name].index) for name in self.dense}

    def _dense_sequences(self, batch: Batch) -> dict[str, dict[str, FoldedSequence]]:
        owner = {
            key: group.dense_lists
            for group in batch.groups.values()
            if group.dense_lists is not None
            for key in group.dense_lists.keys
        }
        _check_there(self.dense_sequences, owner)
        found: dict[str, dict[str, FoldedSequence]] = {}
        for name in self.dense_sequences:
            features = found.setdefault(self.groups[name], {})
            values = owner[name].lists(name)[0].to(self.dtype).unsqueeze(1)
            features[name] = _sequence(owner[name], name, values, features)
        return found


def assemble(
    schema: Schema, settings: RunSettings, device: torch.device, make_tables: MakeTables = EmbeddingTables
) -> Assembled:
    """Build the tables and the model; weights depend on the seed only.

    Args:
        schema: an effective schema: every table has rows.
        make_tables: builds the tables of this process.
    Raises:
        InputError: an unknown model or option, or tables that the model cannot read.
    """
    dtype = DTYPES[settings.train.dtype]
    specs, vectors, weights = tables_read(schema, settings.model.name)
    weighed = {weights_name(f): f for f, _ in model_weights(settings.model.name, schema)}
    reads = vectors + weights
    sparse = settings.tables
    tables = make_tables(
        specs,
        reads,
        kernel=sparse.kernel,
        optimizer=sparse.optimizer,
        learning_rate=sparse.learning_rate,
        eps=sparse.eps,
        weight_decay=sparse.weight_decay,
        beta1=sparse.beta1,
        beta2=sparse.beta2,
        seed=settings.train.seed,
        device=device,
        dtype=dtype if settings.train.dtype == "float64" else None,
        together={read.feature: schema.group_of(weighed.get(read.feature, read.feature)) for read in reads},
    )
    dense = tuple(name for name, f in schema.features.items() if not f.is_id and f.kind in ("dense", "vector"))
    dense_sequences = tuple(name for name, f in schema.features.items() if not f.is_id and f.kind == "dense_sequence")
    shape = input_shape(schema, vectors, dense, dense_sequences, tuple(weighed.values()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.train.seed)
        model = build_model(settings.model.name, shape, settings.model.options)
    return Assembled(
        model=model.to(device=device, dtype=dtype),
        tables=tables,
        reads=reads,
        dense=dense,
        dense_sequences=dense_sequences,
        groups={name: schema.group_of(name) for name in schema.features},
        dtype=dtype,
        weighed=weighed,
    )


def tables_read(schema: Schema, model: str) -> tuple[dict[str, TableSpec], tuple[Read, ...], tuple[Read, ...]]:
    """The tables that a model reads, and its reads of vectors and of first-order weights.

    Raises:
        InputError: an unknown model, or tables that it cannot read.
    """
    specs = schema.resolved_tables()
    vectors = tuple(Read(feature=f, table=schema.table_of(f), mode=mode) for f, mode in model_reads(model, schema))
    weights = tuple(
        Read(feature=weights_name(f), table=weights_name(schema.table_of(f)), mode=mode)
        for f, mode in model_weights(model, schema)
    )
    specs |= weight_tables(specs, len(schema.labels))
    read = {read.table for read in vectors + weights}
    return {name: spec for name, spec in specs.items() if name in read}, vectors, weights


def table_sizes(schema: Schema, settings: RunSettings) -> dict[str, TableSize]:
    """How large the tables of a run are, with the state of their optimizers.

    Raises:
        InputError: as `assemble`; or a table whose number of rows is not known.
    """
    specs, float64 = tables_read(schema, settings.model.name)[0], settings.train.dtype == "float64"
    sizes = embed_table_sizes(specs, optimizer=settings.tables.optimizer, float64=float64)
    return {name: TableSize(*size) for name, size in sizes.items()}


def weights_name(name: str) -> str:
    """Name of the read, or table, of the first-order weights beside a feature's, or table's, vectors.

    >>> weights_name("item")
    'item:weights'
    """
    return f"{name}:weights"


def weight_tables(specs: Mapping[str, TableSpec], num_labels: int) -> dict[str, TableSpec]:
    """For each table one of equally many rows that are first-order weights: one for each label, zeros at first."""
    update = {"dim": num_labels, "init": 0.0}
    return {weights_name(name): spec.model_copy(update=update) for name, spec in specs.items()}


def input_shape(
    schema: Schema,
    reads: tuple[Read, ...],
    dense: tuple[str, ...],
    dense_sequences: tuple[str, ...],
    weights: tuple[str, ...] = (),
) -> InputShape:
    """What a model has to know about its inputs to be built.

    Args:
        reads: of vectors.
        weights: features that have first-order weights.
    """
    specs = schema.resolved_tables()
    sequences: dict[str, dict[str, int]] = {}
    for read in reads:
        if read.mode == "rows":
            sequences.setdefault(schema.group_of(read.feature), {})[read.feature] = specs[read.table].dim
    floats: dict[str, tuple[str, ...]] = {}
    for name in dense_sequences:
        floats[schema.group_of(name)] = (*floats.get(schema.group_of(name), ()), name)
    return InputShape(
        pooled={read.feature: specs[read.table].dim for read in reads if read.mode != "rows"},
        sequences=sequences,
        dense={name: schema.features[name].width or 1 for name in dense},
        dense_sequences=floats,
        num_labels=len(schema.labels),
        weights=weights,
        targets={group: _targets(schema, features) for group, features in sequences.items()},
    )


def _targets(schema: Schema, histories: Collection[str]) -> tuple[str, ...]:
    """Features of one id each that read a table of some histories."""
    tables = {schema.table_of(name) for name in histories}
    single = (name for name, feature in schema.features.items() if feature.kind == "id")
    return tuple(name for name in single if schema.table_of(name) in tables)


def lists_of(batch: Batch) -> dict[str, InverseKeyedJaggedTensor]:
    """Feature -> the lists that hold it."""
    return {key: group.lists for group in batch.groups.values() if group.lists is not None for key in group.lists.keys}


def bags_of(feature: str, mode: ReadMode, lists: Mapping[str, InverseKeyedJaggedTensor]) -> Bags:
    """What a read of a feature looks up.

    Args:
        lists: feature -> the lists that hold it.
    Raises:
        InputError: the feature is not among them.
    """
    _check_there((feature,), lists)
    own = lists[feature]
    if mode == "rows":
        # once per merged position, however many windows hold it
        values, _, _, weights = own.lists(feature)
        return Bags(values, torch.arange(len(values) + 1, device=values.device), weights)
    values, offsets, weights = own.bags(feature)
    return Bags(values, offsets, weights)


def _sequence(
    own: InverseKeyedJaggedTensor, feature: str, rows: Tensor, others: Mapping[str, FoldedSequence]
) -> FoldedSequence:
    _, start, length, _ = own.lists(feature)
    for other in others.values():
        if (
            other.index is own.index
            and len(other.rows) == len(rows)
            and other.start is start
            and other.length is length
        ):
            return other.with_rows(rows)
    return FoldedSequence(rows, start, length, own.index)


def _check_there(features: tuple[str, ...], found: Mapping[str, object]) -> None:
    for name in features:
        if name not in found:
            raise InputError(f"feature {name!r} is not in the batch", expected=f"one of {', '.join(sorted(found))}")
