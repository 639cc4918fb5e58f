"""Partial results: which sums of a model the ranks make from their own rows, and what the model gets of them.

A model says what of it is linear in looked-up rows (`operators_of`). Here its operators become sums over the features
of each group, are chosen by counted bytes and multiplications, and what the tables give of them becomes model inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from recfold.batch import Added, FoldIndex, as_folded
from recfold.embed import (
    WireRow,
    more_flops_of_sum,
    possible_sums,
    saved_by_sum,
    wire_bytes_of_feature,
    wire_bytes_of_sum,
)
from recfold.spec import FieldSum, InputError, Operator, Plan, Read

Partial = Literal["auto", "on", "off"]
Of = Literal["vectors", "weights"]


@dataclass(frozen=True)
class GroupSum:
    """What a model needs of one group's features instead of their rows.

    Args:
        field_sum: over reads.
        of: vectors or first-order weights.
        features: whose reads these are, in the same order.
        group: of the batch.
        operators: names of what it serves.
        parameter: of the model, that multiplies the rows; "" for none. columns: read -> its columns.
        is_alone: the sum is over one feature's ids, whose pooled row and squares the model gets as if they were looked
            up at home.
    """

    field_sum: FieldSum
    of: Of
    features: tuple[str, ...]
    group: str
    operators: tuple[str, ...]
    parameter: str
    columns: Mapping[str, tuple[int, int]]
    is_alone: bool = False

    def apart(self) -> "list[GroupSum]":
        """Where single ids are counted: each feature by itself, for a model that pools and multiplies at home."""
        if self.field_sum.squares != "ids":
            return []
        return [
            replace(
                self,
                field_sum=self.field_sum.model_copy(
                    update={"name": f"ids of {read}", "features": (read,), "total": True, "product": 0}
                ),
                features=(feature,),
                parameter="",
                columns={},
                is_alone=True,
            )
            for read, feature in zip(self.field_sum.features, self.features, strict=True)
        ]

    def added(self, outputs: Mapping[str, Tensor], index: FoldIndex) -> Added:
        """What the model gets."""
        own = self.field_sum
        total, squares, product = (
            as_folded(outputs[name], index) if name in own.outputs else None
            for name in (own.name, own.squares_name, own.product_name)
        )
        return Added(self.of, self.features, total, squares, product)


@dataclass(frozen=True)
class PartialChoice:
    """What is added up where the rows are, and lines that say why."""

    sums: tuple[GroupSum, ...] = ()
    notes: tuple[str, ...] = ()


def group_sums(
    operators: Sequence[Operator],
    reads: Sequence[Read],
    weighed: Mapping[str, str],
    groups: Mapping[str, str],
    dims: Mapping[str, int],
) -> list[GroupSum]:
    """Every sum over features of a group that serves all operators which read these rows.

    Args:
        weighed: read of first-order weights -> its feature.
        groups: feature -> its batch group.
        dims: table -> its dim.
    """
    found = []
    for of in ("weights", "vectors"):
        own = [operator for operator in operators if operator.of == of]
        if not own:
            continue
        total = any(operator.total for operator in own)
        squares = next((operator.squares for operator in own if operator.squares), None)
        multiplied = next((operator for operator in own if operator.parameter), None)
        members: dict[tuple[str, int], list[Read]] = {}
        for read in reads:
            feature = weighed.get(read.feature, read.feature)
            if (read.feature in weighed) == (of == "weights") and all(feature in each.features for each in own):
                dim = dims[read.table] if total or squares else 0
                members.setdefault((groups[feature], dim), []).append(read)
        for (group, dim), alike in members.items():
            features = tuple(weighed.get(read.feature, read.feature) for read in alike)
            found.append(
                GroupSum(
                    FieldSum(
                        name=f"{of} of {group} ({dim})",
                        features=tuple(read.feature for read in alike),
                        total=total,
                        squares=squares,
                        norm=all(operator.norm for operator in own if operator.squares) and squares is not None,
                        product=multiplied.product if multiplied else 0,
                    ),
                    of,
                    features,
                    group,
                    tuple(operator.name for operator in own),
                    multiplied.parameter if multiplied else "",
                    {read.feature: multiplied.columns[f] for read, f in zip(alike, features, strict=True)}
                    if multiplied
                    else {},
                )
            )
    return found


def choose_partial(
    wanted: Partial,
    candidates: Sequence[GroupSum],
    reads: Sequence[Read],
    plan: Plan,
    ids_per_list: Mapping[str, float],
    wire_row: WireRow,
) -> PartialChoice:
    """What is added up where the rows are.

    Args:
        wanted: `auto` takes what makes a step cheaper, `on` all that the plan allows.
        ids_per_list: read -> mean number of ids in a distinct list.
        wire_row: how rows travel.
    Raises:
        InputError: `on`, and the plan allows nothing.
    """
    if wanted == "off":
        return PartialChoice()
    sums: list[GroupSum] = []
    notes = []
    for candidate in candidates:
        what = f"partial results: {' and '.join(candidate.operators)} of group {candidate.group!r}"
        whole = _kept(candidate, reads, plan)
        if whole is None:
            notes.append(f"{what}: no, the squares of pooled rows need tables that are not cut by rows")
            continue
        ways = {"yes": [whole]} if wanted == "on" else {"no": [], "yes": [whole], "feature by feature": whole.apart()}
        saved = {
            way: sum(saved_by_sum(own.field_sum, reads, plan, ids_per_list, wire_row) for own in found)
            for way, found in ways.items()
        }
        best = max(saved, key=lambda way: saved[way])
        sums += ways[best]
        notes.append(f"{what}: {best}, {_counted(whole, ways[best], reads, plan, ids_per_list, wire_row)}")
    if wanted == "on" and not sums:
        raise InputError(
            "ranks.partial=on, but the plan allows no partial results",
            got=notes[0].removeprefix("partial results: "),
            todo="place tables table-wise or column-wise, set model.options.pairs=ids where the model has it, "
            "or use ranks.partial=auto",
        )
    return PartialChoice(tuple(sums), tuple(notes))


def check_partial(wanted: Partial, candidates: Sequence[GroupSum], model: str) -> None:
    """Raises:
    InputError: `on` for a model that computes nothing which partial results add up to.
    """
    if wanted == "on" and not candidates:
        raise InputError(
            f"ranks.partial=on, but model {model!r} has no operator that partial results of ranks add up to",
            expected="lr, fm, wide-deep or deepfm",
            todo="use ranks.partial=auto",
        )


def _kept(candidate: GroupSum, reads: Sequence[Read], plan: Plan) -> GroupSum | None:
    """What of a candidate the plan allows."""
    possible = possible_sums([candidate.field_sum], reads, plan)
    if not possible:
        return None
    features = dict(zip(candidate.field_sum.features, candidate.features, strict=True))
    return replace(
        candidate,
        field_sum=possible[0],
        features=tuple(features[name] for name in possible[0].features),
        columns={name: columns for name, columns in candidate.columns.items() if name in possible[0].features},
    )


def _counted(
    whole: GroupSum,
    chosen: Sequence[GroupSum],
    reads: Sequence[Read],
    plan: Plan,
    ids_per_list: Mapping[str, float],
    wire_row: WireRow,
) -> str:
    """Expected bytes of a distinct list besides its ids, of each way."""

    def summed(sums: Sequence[GroupSum]) -> float:
        return sum(wire_bytes_of_sum(s.field_sum, _reads_of(s, reads), plan, ids_per_list, wire_row) for s in sums)

    own, by_id = _reads_of(whole, reads), whole.field_sum.squares == "ids"
    rows = sum(wire_bytes_of_feature(read, plan, ids_per_list[read.feature], wire_row, by_id=by_id) for read in own)
    text = f"{summed([whole]):,.0f} bytes a distinct list, {rows:,.0f} with the rows of {_features(own)}"
    if chosen and chosen[0].is_alone:
        text = f"{summed(chosen):,.0f} bytes a distinct list; all together {text}"
    flops = more_flops_of_sum(whole.field_sum, own, plan)
    return text + (f", and {flops:,.0f} operations more" if flops else "")


def _reads_of(own: GroupSum, reads: Sequence[Read]) -> list[Read]:
    return [read for read in reads if read.feature in own.field_sum.features]


def _features(reads: Sequence[Read]) -> str:
    return f"{len(reads)} features" if len(reads) > 1 else "1 feature"
