"""A synchronous parameter server as a peer: a rank pulls the distinct rows of its batch and pushes their gradients.

Every rank is a worker, and the server of the rows whose number is its own modulo the ranks. A step of rank w:

    sizes   int32   how many distinct rows of each table it wants of each server
    pull    int64   these rows' numbers, once for tables that are read with the same ids (vectors and their weights)
    rows    float   what the servers answer
    push    float   gradients of the same rows in the same order: numbers need not be sent again

A server adds the gradients of all workers in the order of ranks and updates each touched row once, so that it trains
what one process trains on the batches of all ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from recfold.comm import Message, Wire, aligned, all_to_all
from recfold.embed import Bags, EmbeddingTables
from recfold.optim import Joined, State, UpdateSettings, find_touched, sparse_optimizer, update_touched_
from recfold.spec import Read, TableSpec


@dataclass(frozen=True, eq=False)
class Pulled:
    """A step under way.

    Args:
        place_V: read -> where each of its ids lies among the rows that were pulled for its table.
        order: set of tables -> its distinct rows' order by server, and how many of each.
        asked: set of tables -> [rank] rows of this server, counted from 0.
    """

    place_V: Mapping[str, Tensor]
    order: Sequence[tuple[Tensor, list[int]]]
    asked: Sequence[Sequence[Tensor]]


class ParameterServerTables:
    """Embedding tables of a worker and its part of the servers, with the outputs of `EmbeddingTables`.

    Args:
        tables, reads, options: as `EmbeddingTables` takes them; options are `seed`, `dtype` and of the update rule.
        same_ids: read -> another one with the same bags.
        group: of the ranks.

    Attributes:
        wire: counts what this rank sends.
    """

    def __init__(
        self,
        tables: Mapping[str, TableSpec],
        reads: Sequence[Read],
        *,
        same_ids: Mapping[str, str],
        group: dist.ProcessGroup | None = None,
        **options: Any,
    ) -> None:
        self.reads, self.wire, self._group = tuple(reads), Wire(), group
        self._rank, self._ranks = dist.get_rank(group), dist.get_world_size(group)
        self._anchor = torch.zeros((), requires_grad=True)
        self.weights: dict[str, Tensor] = {}
        self.states: dict[str, State] = {}
        rule = {name: options[name] for name in ("learning_rate", "eps", "weight_decay", "beta1", "beta2")}
        self._rules = {}
        for name, spec in tables.items():
            # first weights are those of the whole table: one is made at a time
            alone = [read for read in reads if read.table == name][:1]
            whole = EmbeddingTables({name: spec}, alone, **{**options, "kernel": "torch"}).state()
            held = {part.removeprefix(f"{name}."): tensor for part, tensor in whole.items()}
            self.weights[name] = held.pop("weight")[self._rank :: self._ranks].clone()
            self.states[name] = {
                kept: tensor[self._rank :: self._ranks].clone() if tensor.dim() else tensor
                for kept, tensor in held.items()
            }
            optimizer = sparse_optimizer(spec.optimizer or options["optimizer"])
            self._rules[name] = (optimizer, UpdateSettings(**rule))
        self._sets = _alike(tables, self.reads, same_ids)

    def __call__(self, bags: Mapping[str, Bags]) -> dict[str, Tensor]:
        """Look up every read; the backward of the outputs is the push and the update."""
        pulled, rows = self._pull(bags)
        found = _Rows.apply(self._anchor, self, pulled, rows)
        by_table = dict(zip(self.weights, found, strict=True))
        return {read.feature: _pooled(read, bags[read.feature], by_table[read.table], pulled) for read in self.reads}

    def _pull(self, bags: Mapping[str, Bags]) -> tuple[Pulled, list[Tensor]]:
        place_V: dict[str, Tensor] = {}
        orders, wanted = [], []
        for tables in self._sets:
            own = [read for read in self.reads if read.table == tables[0]]
            distinct, inverse = torch.cat([bags[read.feature].values for read in own]).unique(return_inverse=True)
            server = distinct % self._ranks
            order = torch.sort(server, stable=True).indices
            counts = torch.bincount(server, minlength=self._ranks).tolist()
            orders.append((order, counts))
            wanted.append((distinct[order] // self._ranks).split(counts))
            back = torch.empty_like(order)
            back[order] = torch.arange(len(order))
            parts = back[inverse].split([len(bags[read.feature].values) for read in own])
            for table in tables:
                others = [read for read in self.reads if read.table == table]
                place_V |= {read.feature: part for read, part in zip(others, parts, strict=True)}
        sizes = self._swap(
            "sizes",
            [torch.tensor([len(own[rank]) for own in wanted], dtype=torch.int32) for rank in range(self._ranks)],
            [4 * len(wanted)] * self._ranks,
        )
        numbers = [aligned(part, torch.int32).tolist() for part in sizes]
        requests = [torch.cat([own[rank] for own in wanted]) for rank in range(self._ranks)]
        ids = self._swap("ids", requests, [8 * sum(own) for own in numbers])
        by_rank = [aligned(part, torch.int64).split(own) for part, own in zip(ids, numbers, strict=True)]
        asked = [[own[place] for own in by_rank] for place in range(len(self._sets))]
        pulled = Pulled(place_V, orders, asked)
        answers = [
            _flat([self.weights[table][asked[place][rank]] for place, table in self._each()])
            for rank in range(self._ranks)
        ]
        return pulled, self._read_rows(self._swap("vectors", answers, self._bytes_of(orders)), orders)

    def push_(self, pulled: Pulled, grads: Sequence[Tensor | None]) -> None:
        """Send gradients of the pulled rows; add what all workers sent, in their order, and update."""
        by_table = dict(zip(self.weights, grads, strict=True))
        outgoing: list[list[Tensor]] = [[] for _ in range(self._ranks)]
        for place, table in self._each():
            counts, grad = pulled.order[place][1], by_table[table]
            if grad is None:
                grad = self.weights[table].new_zeros(sum(counts), self.weights[table].shape[1])
            for rank, part in enumerate(grad.split(counts)):
                outgoing[rank].append(part)
        sizes = [
            sum(len(pulled.asked[place][rank]) * self._row_bytes(table) for place, table in self._each())
            for rank in range(self._ranks)
        ]
        received = self._swap("gradients", [_flat(own) for own in outgoing], sizes)
        parts: dict[str, list[Tensor]] = {table: [] for table in self.weights}
        for rank, message in enumerate(received):
            start = 0
            for place, table in self._each():
                stop = start + len(pulled.asked[place][rank]) * self._row_bytes(table)
                weight = self.weights[table]
                parts[table].append(aligned(message[start:stop], weight.dtype).view(-1, weight.shape[1]))
                start = stop
        for place, table in self._each():
            joined = Joined(torch.cat(list(pulled.asked[place])), None, None)
            (touched,) = find_touched([joined], [len(self.weights[table])])
            optimizer, settings = self._rules[table]
            state, grad = self.states[table], torch.cat(parts[table])
            update_touched_(self.weights[table], state, touched, grad, optimizer, settings)

    def _each(self) -> list[tuple[int, str]]:
        """Every table with the number of its set, in the order in which rows travel."""
        return [(place, table) for place, tables in enumerate(self._sets) for table in tables]

    def _row_bytes(self, table: str) -> int:
        return self.weights[table].shape[1] * self.weights[table].element_size()

    def _bytes_of(self, orders: Sequence[tuple[Tensor, list[int]]]) -> list[int]:
        """Bytes of rows that come from each server."""
        return [
            sum(orders[place][1][rank] * self._row_bytes(table) for place, table in self._each())
            for rank in range(self._ranks)
        ]

    def _read_rows(self, messages: Sequence[Tensor], orders: Sequence[tuple[Tensor, list[int]]]) -> list[Tensor]:
        """Rows of each table, server by server."""
        parts: dict[str, list[Tensor]] = {table: [] for table in self.weights}
        for rank, message in enumerate(messages):
            start = 0
            for place, table in self._each():
                weight = self.weights[table]
                stop = start + orders[place][1][rank] * self._row_bytes(table)
                parts[table].append(aligned(message[start:stop], weight.dtype).view(-1, weight.shape[1]))
                start = stop
        return [torch.cat(own) for own in parts.values()]

    def _swap(self, kind: str, messages: Sequence[Tensor], expected: Sequence[int]) -> list[Tensor]:
        """A message to each rank and one of each; one's own stays and is not counted."""
        raw = [message.contiguous().view(-1).view(torch.uint8) for message in messages]
        own = raw[self._rank]
        raw[self._rank] = own[:0]
        self.wire.add(kind, sum(len(part) for part in raw))
        expected = [0 if rank == self._rank else size for rank, size in enumerate(expected)]
        message = Message(torch.cat(raw), [len(part) for part in raw], expected, kind)
        received = all_to_all(message, self._group, self.wire).wait()
        received[self._rank] = own
        return received


class _Rows(torch.autograd.Function):
    """Pulled rows of every table, whose backward pushes their gradients."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, tables: ParameterServerTables, pulled: Pulled, rows: list[Tensor]
    ) -> tuple[Tensor, ...]:
        ctx.tables, ctx.pulled = tables, pulled
        ctx.set_materialize_grads(False)
        return tuple(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None, None]:
        ctx.tables.push_(ctx.pulled, grads)
        return None, None, None, None


def _alike(tables: Mapping[str, TableSpec], reads: Sequence[Read], same_ids: Mapping[str, str]) -> list[list[str]]:
    """Tables whose reads have the same ids, so that these travel once."""
    sets: dict[tuple[str, ...], list[str]] = {}
    for name in tables:
        sources = tuple(same_ids.get(read.feature, read.feature) for read in reads if read.table == name)
        sets.setdefault(sources, []).append(name)
    return list(sets.values())


def _pooled(read: Read, bags: Bags, rows_TD: Tensor, pulled: Pulled) -> Tensor:
    """The output of a read from the rows that were pulled for its table."""
    rows_VD = rows_TD.index_select(0, pulled.place_V[read.feature])
    if bags.weights is not None:
        rows_VD = rows_VD * bags.weights.to(rows_VD.dtype).unsqueeze(1)
    if read.mode == "rows":
        return rows_VD
    length_U = bags.offsets.diff()
    bag_V = torch.repeat_interleave(torch.arange(len(length_U)), length_U, output_size=len(rows_VD))
    sums_UD = rows_VD.new_zeros(len(length_U), rows_VD.shape[1]).index_add(0, bag_V, rows_VD)
    return sums_UD / length_U.clamp(min=1).to(sums_UD.dtype).unsqueeze(1) if read.mode == "mean" else sums_UD


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.contiguous().view(-1) for part in parts])
