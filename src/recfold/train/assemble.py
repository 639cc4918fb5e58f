"""From a schema and settings to tables and a model, and from a batch to what they read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from recfold.batch import (
    Batch,
    Folded,
    FoldedSequence,
    Group,
    InverseKeyedJaggedTensor,
    LazyFeatures,
    ModelInputs,
    SegmentedSum,
    as_folded,
)
from recfold.embed import Bags, EmbeddingTables, ShardedTables, WireRow, as_weighted
from recfold.embed import table_sizes as embed_table_sizes
from recfold.model import InputShape, build_model, model_reads, model_weights, operators_of
from recfold.plan import TableSize
from recfold.spec import InputError, Plan, Read, ReadMode, Schema, TableSpec
from recfold.train.partial import PartialChoice, check_partial, choose_partial, group_sums
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
        partial: what is added up where the rows are; those features the model gets as sums.
        by_id: read whose ids' rows are looked up one by one and pooled here, because the model counts their squares ->
            whether it wants them summed over columns.
        means: of these, those that are pooled by mean.
    """

    model: nn.Module
    tables: Tables
    reads: tuple[Read, ...]
    dense: tuple[str, ...]
    dense_sequences: tuple[str, ...]
    groups: Mapping[str, str]
    dtype: torch.dtype
    weighed: Mapping[str, str]
    partial: PartialChoice = field(default_factory=PartialChoice)
    by_id: Mapping[str, bool] = field(default_factory=dict)
    means: frozenset[str] = frozenset()

    def inputs(self, batch: Batch) -> ModelInputs:
        """Look up every table once and put the model's inputs together, folded as the batch is.

        Raises:
            InputError: the batch lacks a feature.
        """
        found = self._looked_up(batch, self.tables(self.bags(batch)))
        return replace(found, dense=self._dense(batch), dense_sequences=self._dense_sequences(batch))

    def bags(self, batch: Batch) -> dict[str, Bags]:
        """What the tables are asked for.

        Raises:
            InputError: the batch lacks a feature.
        """
        return self._bags_of(lists_of(batch))

    def arriving(self, batch: Batch, rows: Callable[[], Mapping[str, Tensor]]) -> ModelInputs:
        """The same inputs, of which looked-up features are made at the first look at one of them.

        Args:
            rows: waits for what the tables give for `bags`; called once, and at once where rows are added up or
                squared for the model.
        """
        if self.partial.sums or self.by_id:
            found = self._looked_up(batch, rows())
            return replace(found, dense=self._dense(batch), dense_sequences=self._dense_sequences(batch))
        made = cache(lambda: self._looked_up(batch, rows()))
        names: dict[str, dict[str, None]] = {"pooled": {}, "weights": {}, "sequences": {}}
        for read in self.reads:
            feature = self.source(read)
            if read.mode == "rows":
                names["sequences"][self.groups[feature]] = None
            else:
                names["pooled" if feature == read.feature else "weights"][feature] = None
        return ModelInputs(
            LazyFeatures(tuple(names["pooled"]), lambda: made().pooled),
            LazyFeatures(tuple(names["sequences"]), lambda: made().sequences),
            self._dense(batch),
            self._dense_sequences(batch),
            num_samples=batch.num_samples,
            weights=LazyFeatures(tuple(names["weights"]), lambda: made().weights),
        )

    def _looked_up(self, batch: Batch, looked_up: Mapping[str, Tensor]) -> ModelInputs:
        """Inputs without numbers."""
        lists = lists_of(batch)
        bags = self._bags_of(lists) if self.by_id else {}
        looked_up = {name: rows.to(self.dtype) for name, rows in looked_up.items()}
        pooled: dict[str, Tensor | Folded] = {}
        weights: dict[str, Tensor | Folded] = {}
        squares: dict[str, Tensor | Folded] = {}
        sequences: dict[str, dict[str, FoldedSequence]] = {}
        for read in self.reads:
            if read.feature not in looked_up:
                continue  # added up with others
            feature = self.source(read)
            own, values = lists[feature], looked_up[read.feature]
            if read.feature in self.by_id:
                pool = SegmentedSum(
                    torch.arange(len(values), device=values.device), len(values), bags[read.feature].offsets
                )
                squares_VD = values.square()
                if self.by_id[read.feature]:
                    squares_VD = squares_VD.sum(1, keepdim=True)
                pooled[feature], squares[feature] = (as_folded(pool(v), own.index) for v in (values, squares_VD))
            elif read.mode == "rows":
                features = sequences.setdefault(self.groups[feature], {})
                features[feature] = _sequence(own, feature, values, features)
            else:
                (pooled if feature == read.feature else weights)[feature] = as_folded(values, own.index)
        added = [own.added(looked_up, lists[own.features[0]].index) for own in self.partial.sums if not own.is_alone]
        for alone in (own for own in self.partial.sums if own.is_alone):
            (feature,), index = alone.features, lists[alone.features[0]].index
            pooled[feature] = as_folded(looked_up[alone.field_sum.name], index)
            squares[feature] = as_folded(looked_up[alone.field_sum.squares_name], index)
        return ModelInputs(
            pooled, sequences, {}, {}, batch.num_samples, weights=weights, squares=squares, added=tuple(added)
        )

    def notes(self) -> tuple[str, ...]:
        """Lines that say which kernel serves which tables, and what is added up where the rows are."""
        return (*self.tables.notes(), *self.partial.notes)

    def _bags_of(self, lists: Mapping[str, InverseKeyedJaggedTensor]) -> dict[str, Bags]:
        """The bags of every read; one object where two have the same."""
        found: dict[str, Bags] = {}
        for read in self.reads:
            feature = self.source(read)
            if feature in found and feature not in self.by_id:
                found[read.feature] = found[feature]
            elif read.feature in self.by_id:
                own = bags_of(feature, "sum", lists)
                found[read.feature] = as_weighted(own, "mean", self.dtype) if read.feature in self.means else own
            else:
                found[read.feature] = bags_of(feature, read.mode, lists)
        return found

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
    schema: Schema,
    settings: RunSettings,
    device: torch.device,
    make_tables: MakeTables = EmbeddingTables,
    *,
    plan: Plan | None = None,
    ids_per_list: Mapping[str, float] | None = None,
) -> Assembled:
    """Build the tables and the model; weights depend on the seed only.

    Args:
        schema: an effective schema: every table has rows.
        make_tables: builds the tables of this process.
        plan: of several ranks.
        ids_per_list: id feature -> mean ids of a list, by which partial results are chosen; 1 where not given.
    Raises:
        InputError: an unknown model or option, or tables that the model cannot read.
    """
    dtype = DTYPES[settings.train.dtype]
    specs, vectors, weights = tables_read(schema, settings.model.name)
    weighed = {weights_name(f): f for f, _ in model_weights(settings.model.name, schema)}
    reads = vectors + weights
    dense = tuple(name for name, f in schema.features.items() if not f.is_id and f.kind in ("dense", "vector"))
    dense_sequences = tuple(name for name, f in schema.features.items() if not f.is_id and f.kind == "dense_sequence")
    shape = input_shape(schema, vectors, dense, dense_sequences, tuple(weighed.values()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.train.seed)
        model = build_model(settings.model.name, shape, settings.model.options)
    model = model.to(device=device, dtype=dtype)
    groups = {name: schema.group_of(name) for name in schema.features}
    operators = operators_of(model)
    dims = {name: spec.dim for name, spec in specs.items()}
    candidates = group_sums(operators, reads, weighed, groups, dims)
    check_partial(settings.ranks.partial, candidates, settings.model.name)
    choice = PartialChoice()
    if plan is not None:
        measured = {
            read.feature: (ids_per_list or {}).get(weighed.get(read.feature, read.feature), 1.0) for read in reads
        }
        wire_row = WireRow(settings.ranks.codec, dtype)
        choice = choose_partial(settings.ranks.partial, candidates, reads, plan, measured, wire_row)
    together = {read.feature: groups[weighed.get(read.feature, read.feature)] for read in reads}
    summed = {name for own in choice.sums for name in own.field_sum.features}
    by_id = {
        name: operator.norm
        for operator in operators
        if operator.squares == "ids"
        for name in operator.features
        if name not in summed
    }
    means = frozenset(read.feature for read in reads if read.feature in by_id and read.mode == "mean")
    reads = tuple(read.model_copy(update={"mode": "rows"}) if read.feature in by_id else read for read in reads)
    tables = make_tables(
        specs,
        reads,
        **settings.tables.model_dump(exclude={"dim"}),
        seed=settings.train.seed,
        device=device,
        dtype=dtype if settings.train.dtype == "float64" else None,
        together=together,
        **_between_ranks(plan, choice, reads, weighed),
    )
    for own in choice.sums:
        if own.parameter:
            cast(ShardedTables, tables).multiply(own.field_sum.name, model.get_parameter(own.parameter), own.columns)
    return Assembled(
        model=model,
        tables=tables,
        reads=reads,
        dense=dense,
        dense_sequences=dense_sequences,
        groups=groups,
        dtype=dtype,
        weighed=weighed,
        partial=choice,
        by_id=by_id,
        means=means,
    )


def _between_ranks(
    plan: Plan | None, choice: PartialChoice, reads: Sequence[Read], weighed: Mapping[str, str]
) -> dict[str, Any]:
    """What tables of several ranks are told besides."""
    if plan is None:
        return {}
    modes = {read.feature: read.mode for read in reads}
    same = {name: feature for name, feature in weighed.items() if modes.get(feature) == modes[name]}
    return {"field_sums": tuple(own.field_sum for own in choice.sums), "same_ids": same}


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
