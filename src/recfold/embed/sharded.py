"""Every embedding table over the ranks of a group behind one call.

A step, top to bottom in one forward:

    cut      each feature's distinct lists at the shards that they belong to     route.py
    ask      sizes to every rank, then ids                                       exchange.py, recfold.comm
    look up  what all ranks asked for, each table in one call                    local_shards.py
    answer   rows to every rank, in one message or in waves                       exchange.py
    add      row shards, join column shards: the outputs of one process          dealing.py

and its backward: gradients to the ranks that hold the rows, one update per table.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recfold.comm import Message, Wire, all_to_all, codec_named, gather_texts, round_trip, stop_together
from recfold.embed import exchange
from recfold.embed.bags import Bags, check_bags, check_reads, check_same_bags, check_same_ids, check_together
from recfold.embed.dealing import Dealer
from recfold.embed.exchange import Peers, Request
from recfold.embed.field_sums import Rows, check_field_sums
from recfold.embed.kernel_choice import KernelName
from recfold.embed.layout import Layout
from recfold.embed.local_shards import LocalShards
from recfold.embed.lookup import Gradients, Lookup
from recfold.embed.partial_sums import Matrix, PartialSums
from recfold.embed.replicas import Replicas
from recfold.embed.resolved_table import ResolvedTable, UpdateDefaults, resolve_all
from recfold.embed.shard_state import ShardState, copy_state_, load_shards
from recfold.spec import FieldSum, InputError, Plan, Read, TableSpec, xxh64_strings


class ShardedTables(nn.Module):
    """`EmbeddingTables` over ranks: the same outputs, updates and weights as one process that has the ranks' batches
    one after the other.

    Every rank of the group makes the same calls in the same order: a forward, and in training one backward through at
    least one output. A rank that has no batch calls `serve()` instead. The loss of all ranks is the sum over ranks.
    Exchanges of a step travel over `group`: give it one that nothing else uses.

    Args:
        tables, reads, kernel, seed, device, dtype, together, update: as in `EmbeddingTables`, the same on every rank.
        plan: which rank holds what.
        group: None for the default group.
        codec: how rows and their gradients travel: fp32 (as they are), fp16, bf16, int8.
        field_sums: features that are given as their sum only: each rank adds up those that it holds.
        same_ids: feature -> another one whose bags are always the same: their ids travel once.
        waves: each rank answers with so many messages to every other one, and looks up the rows of one while those of
            the one before travel; 1 where there are field sums.
    Raises:
        InputError: the same on every rank: a plan of other tables or another number of ranks, a wrong read or setting,
            or ranks that do not agree.

    Attributes:
        wire: counts the bytes that this rank sends, by kind, and the time that it waits for others.
        peers: this rank in the group.
        layout: tables, reads and pieces over the ranks.
    """

    def __init__(
        self,
        tables: Mapping[str, TableSpec],
        reads: Sequence[Read],
        *,
        plan: Plan,
        group: dist.ProcessGroup | None = None,
        codec: str = "fp32",
        kernel: KernelName = "auto",
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        together: Mapping[str, str] | None = None,
        field_sums: Sequence[FieldSum] = (),
        same_ids: Mapping[str, str] | None = None,
        waves: int = 1,
        **update: Unpack[UpdateDefaults],
    ) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.reads, self.plan, self.wire = tuple(reads), plan, Wire()
        self.peers = Peers(group, dist.get_rank(group), dist.get_world_size(group), self.device, self.wire)
        self._codec_name, self._seed = codec, seed
        resolved = self._resolve_together(tables, update, dtype, field_sums, together or {}, same_ids or {}, waves)
        self._codec = codec_named(codec)
        self._together = dict(together or {})
        summed = [feature for own in field_sums for feature in own.features]
        in_waves = 1 if field_sums else waves  # a sum needs the rows of all its features
        self.layout = Layout(plan, resolved, self.reads, self.peers.rank, same_ids or {}, summed, in_waves)
        slots = self.layout.slots
        self._partial = PartialSums(slots, field_sums, self.peers.rank)
        self._dealer = Dealer(self.layout, self._partial, self.peers)
        self._row_types_on = [self._partial.row_types(rank) for rank in range(self.peers.ranks)]
        self._replica_types = [(own.dim, own.out_dtype) for own in slots.replicated]
        counted = {read.feature for read in self.reads if self._partial.counts_ids(read.feature)}
        by_id = {
            table: tuple(_by_id(read) if read.feature in counted else read for read in own)
            for table, own in slots.reads.items()
        }
        self._replicas = Replicas(slots.replicated, by_id, self.device, seed)
        problem = ""
        try:
            alike = {feature: group for feature, group in self._together.items() if feature not in counted}
            own_waves = self.layout.waves_on[self.peers.rank]
            self._local = LocalShards(slots, self.peers, kernel, alike, seed, own_waves)
        except InputError as error:
            problem = str(error)
        stop_together(problem, group, self.device)
        # autograd runs a backward only for something that requires a gradient
        self._anchor = torch.zeros((), requires_grad=True)

    def forward(self, bags: Mapping[str, Bags]) -> dict[str, Tensor]:
        """Look up every read of this rank's batch.

        Args:
            bags: feature -> its bags; exactly the features that are read; of any number of lists, 0 included.
        Returns:
            feature -> [U, D] or [V, D], as from `EmbeddingTables`; a field sum in place of its features.
        Raises:
            InputError: on every rank, where one has bags that are missing or malformed, or an id outside its table.
        """
        lookup = self.begin(bags)
        self.answer(lookup)
        return self.finish(lookup)

    def begin(self, bags: Mapping[str, Bags]) -> Lookup:
        """Start a forward: ids travel until `answer`. It may be called before the backward of the step before, if all
        ranks do so."""
        lookup = self.announce(bags)
        self.ask(lookup)
        return lookup

    def announce(self, bags: Mapping[str, Bags]) -> Lookup:
        """The first half of `begin`: sizes travel until `ask`. What is wrong with the bags is said there."""
        trains = self.training and torch.is_grad_enabled()
        problem = self._problem(bags)
        with torch.profiler.record_function("cut lists"):
            lookup = self._cut(self.empty_bags() if problem else bags, trains)
        lookup.problem = problem
        peers, device = self.peers, self.device
        shipped = lookup.shipped = [self.layout.shipped(request, rank) for rank, request in enumerate(lookup.requests)]
        messages = [exchange.sizes_message(lookup.status, request, device) for request in shipped]
        expected = [4 * exchange.num_sizes(len(self.layout.shipped_here), self.layout.num_touched)] * peers.ranks
        lookup.announced = all_to_all(peers.message("sizes", messages, expected), peers.group, self.wire)
        return lookup

    def ask(self, lookup: Lookup) -> None:
        """The second half of `begin`.

        Raises:
            InputError: on every rank, where one announced bags that are missing or malformed, or an id outside its
                table; the lookup is over then.
        """
        assert lookup.announced is not None
        peers, layout, shipped = self.peers, self.layout, lookup.shipped
        received = lookup.announced.wait()
        received[peers.rank] = exchange.sizes_message(lookup.status, shipped[peers.rank], self.device).view(torch.uint8)
        lookup.sizes = [exchange.read_sizes(message, len(layout.shipped_here)) for message in received]
        if any(sizes.status != lookup.status or lookup.problem for sizes in lookup.sizes):
            stop_together(lookup.problem, peers.group, self.device)
            raise InputError("some ranks train on this batch and others only look it up", todo="do the same on all")
        outgoing = [exchange.request_parts(request) for request in shipped]
        expected = [exchange.request_bytes(sizes, layout.shipped_here) for sizes in lookup.sizes]
        lookup.ids = all_to_all(peers.message_of_kinds("ids", outgoing, expected), peers.group, self.wire)

    def answer(self, lookup: Lookup) -> None:
        """Look up what all ranks asked for: rows travel until `finish`, which does this where it was not called."""
        assert lookup.ids is not None
        peers, layout = self.peers, self.layout
        lookup.asked = [
            lookup.requests[rank]
            if rank == peers.rank
            else layout.whole(exchange.read_request(message, sizes, layout.shipped_here), peers.rank)
            for rank, (message, sizes) in enumerate(zip(lookup.ids.wait(), lookup.sizes, strict=True))
        ]
        lookup.joined, lookup.answered = self._dealer.join(lookup.asked), self._dealer.answered(lookup.asked)
        lookup.wanted = [self._partial.rows_wanted(request, rank) for rank, request in enumerate(lookup.requests)]
        for wave in range(len(layout.waves_on[peers.rank])):
            lookup.rows.append(all_to_all(self._answer(lookup, wave), peers.group, self.wire))

    def finish(self, lookup: Lookup) -> dict[str, Tensor]:
        """The rows of a lookup that `begin` started."""
        if not lookup.rows:
            self.answer(lookup)
        lookup.home = self._at_home(lookup)  # while the others travel
        found: list[list[Tensor]] = [[] for _ in range(self.peers.ranks)]
        found[self.peers.rank] = lookup.kept
        for wave, rows in enumerate(lookup.rows):
            for rank, message in enumerate(rows.wait()):
                if rank != self.peers.rank:
                    own = self._in_wave(wave, rank)
                    types, counts = self._row_types_on[rank][own], lookup.wanted[rank][own]
                    found[rank] += exchange.read_rows(message, self._codec.vectors, types, counts)
        lookup.kept = []
        home = {feature: rows.pooled_UD for feature, rows in lookup.home.items()}
        outputs = {**home, **self._dealer.assemble(lookup, found), **self._partial.add(lookup.home, found)}
        ordered = [outputs[name] for name in self._dealer.outputs]
        if lookup.trains:
            matrices = [own.parameter for own in self._partial.matrices.values()]
            ordered = list(_Outputs.apply(self._anchor, self, lookup, ordered, *matrices))
        return dict(zip(self._dealer.outputs, ordered, strict=True))

    def serve(self) -> None:
        """Take part in a step without a batch: look up and update for the other ranks."""
        outputs = self(self.empty_bags())
        if self.training and torch.is_grad_enabled():
            torch.autograd.backward([rows.sum() for rows in outputs.values()])

    def empty_bags(self) -> dict[str, Bags]:
        """Bags of a rank without samples."""
        none, first = (torch.zeros(count, dtype=torch.int64, device=self.device) for count in (0, 1))
        return {read.feature: Bags(none, first) for read in self.reads}

    def multiply(self, field_sum: str, parameter: nn.Parameter, columns: Mapping[str, tuple[int, int]]) -> None:
        """Say which matrix multiplies the rows of a sum that gives a product; the same on every rank, before a forward.

        Args:
            parameter: [H, width]; its gradient is this rank's part: the sum over ranks is that of one process.
            columns: feature of the sum -> the columns that multiply its rows.
        """
        self._partial.matrices[field_sum] = Matrix(parameter, dict(columns))

    @property
    def multiplies(self) -> bool:
        """Whether a matrix multiplies rows here."""
        return bool(self._partial.matrices)

    def update_(self, lookup: Lookup, grads: Sequence[Tensor | None]) -> list[Tensor]:
        """The backward of a forward: send gradients to the rows, update each touched row once.

        Args:
            grads: of each output; None is zero.
        Returns:
            Gradients of the matrices of `multiply`.
        """
        self.send_gradients(lookup, grads)
        return self.finish_update_(lookup)

    def send_gradients(self, lookup: Lookup, grads: Sequence[Tensor | None]) -> None:
        """The first half of `update_`: gradients travel until `finish_update_`."""
        self._partial.begin_backward()
        peers, row_format = self.peers, self._codec.gradients
        of_outputs = self._dealer.filled(lookup, grads)
        by_feature = self._dealer.grads_of_sums(lookup, of_outputs)
        own_replicas = self._replicas.sum_grads(lookup.replicas, by_feature)
        outgoing = [
            [*self._dealer.grads_to(rank, lookup, by_feature), *self._partial.grads_to(rank, of_outputs), *own_replicas]
            for rank in range(peers.ranks)
        ]
        types = [self._row_types_on[peers.rank] + self._replica_types] * peers.ranks
        counts = [
            self._partial.rows_wanted(request, peers.rank) + [len(rows) for rows in request.touched]
            for request in lookup.asked
        ]
        message = peers.message_of_rows("gradients", outgoing, row_format, types, counts)
        lookup.grads = Gradients(outgoing, counts, all_to_all(message, peers.group, self.wire))

    def finish_update_(self, lookup: Lookup) -> list[Tensor]:
        """The second half of `update_`; gives what that gives."""
        assert lookup.grads is not None
        outgoing, counts, under_way = lookup.grads.outgoing, lookup.grads.counts, lookup.grads.under_way
        lookup.grads = None
        peers, row_format = self.peers, self._codec.gradients
        here = self._row_types_on[peers.rank] + self._replica_types
        received = [
            exchange.read_rows(part, row_format, here, own) if rank != peers.rank else []
            for rank, (part, own) in enumerate(zip(under_way.wait(), counts, strict=True))
        ]
        num_pieces, num_sharded = len(self._local.pieces), len(self._row_types_on[peers.rank])
        # what stays is not rounded; but replicas must see the same numbers on every rank
        own_replicas = [round_trip(row_format, grad_TD) for grad_TD in outgoing[peers.rank][num_sharded:]]
        received[peers.rank] = [*outgoing[peers.rank][:num_sharded], *own_replicas]
        by_rank = received if not self._partial else self._dealer.spread(lookup, received)
        grads_here = [torch.cat([own[place] for own in by_rank]) for place in range(num_pieces)]
        self._local.update_(lookup.sums, grads_here)
        if self._local.columns is not None:
            places = self._local.column_places
            self._local.columns.update_([grads_here[p] for p in places], [lookup.joined[p] for p in places])
        if self._replicas.tables:
            self._replicas.update_([own.touched for own in lookup.asked], [own[num_sharded:] for own in received])
        return list(self._partial.matrix_grads.values())

    def shards(self) -> tuple[ShardState, ...]:
        """What training changes on this rank, live: its shards, and every replicated table."""
        return (*self._local.shards(), *self._replicas.shards())

    def load_shards(self, found: Iterable[ShardState]) -> None:
        """Fill this rank's shards from rectangles of any plan that cover them.

        Args:
            found: taken one at a time; what is not of this rank is passed over.
        Raises:
            InputError: another update rule or dtype, or rows that no rectangle holds; part of it may be loaded then.
        """
        load_shards(self.shards(), found)

    def state(self) -> dict[str, Tensor]:
        """`shards()` as flat names: `<table>[rows,columns].weight` and what the update rule keeps."""
        return {f"{own.name}.{name}": tensor for own in self.shards() for name, tensor in own.tensors.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state()` of the same rank and plan in.

        Raises:
            InputError: of other shards, shapes or dtypes; nothing is changed then.
        """
        copy_state_(self.state(), state, "shard", "load another plan's with load_shards")

    def kernels(self) -> dict[str, str]:
        """Shard or replicated table of this rank -> the kernel that serves it."""
        return {**self._local.kernels(), **{own.name: "torch" for own in self._replicas.tables}}

    def notes(self) -> tuple[str, ...]:
        """Lines that say which kernel serves which shards of this rank, and why."""
        return self._local.notes()

    def extra_repr(self) -> str:
        return "; ".join(self.notes())

    def _resolve_together(
        self,
        tables: Mapping[str, TableSpec],
        update: UpdateDefaults,
        dtype: torch.dtype | None,
        field_sums: Sequence[FieldSum],
        together: Mapping[str, str],
        same_ids: Mapping[str, str],
        waves: int,
    ) -> dict[str, ResolvedTable]:
        """Complete the specs; what is wrong on one rank, or not the same on all, is an error on all."""
        resolved: dict[str, ResolvedTable] = {}
        problem, peers = "", self.peers
        try:
            check_reads(tables, self.reads)
            resolved = resolve_all(tables, update, dtype)
            self.plan.check_tables({name: (own.rows, own.dim) for name, own in resolved.items()}, peers.ranks)
            codec_named(self._codec_name)
            check_field_sums(field_sums, self.reads, resolved, together, self.plan)
            check_same_ids(same_ids, self.reads)
            if waves < 1:
                raise InputError("too few waves", got=waves, expected="1 or more")
        except InputError as error:
            problem = str(error)
        stop_together(problem, peers.group, self.device)
        facts = [own.fingerprint() for own in resolved.values()]
        text = "|".join(
            [
                self.plan.to_json(),
                *facts,
                f"{self.reads} {field_sums} {same_ids} {self._codec_name} {self._seed} {waves}",
            ]
        )
        digests = gather_texts(f"{int(xxh64_strings([text])[0]):016x}", peers.group, self.device)
        others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise InputError(
                f"rank {others[0]} has other tables, reads, plan, codec, waves or seed than rank 0",
                todo="start every rank with the same files and settings",
            )
        return resolved

    def _problem(self, bags: Mapping[str, Bags]) -> str:
        try:
            check_bags(self.reads, bags, {name: own.rows for name, own in self.layout.tables.items()}, self.device)
            check_together(self.reads, bags, self._together)
            check_same_bags(self.layout.same_ids, bags)
        except InputError as error:
            return str(error)
        return ""

    def _cut(self, bags: Mapping[str, Bags], trains: bool) -> Lookup:
        parts = self._dealer.cut(bags)
        replicas = self._replicas.begin(self._dealer.bags_at_home(bags), trains)
        touched = replicas.rows()
        requests = [Request([parts[piece, read.feature] for piece, read in own], touched) for own in self.layout.on]
        return Lookup(bags, trains, parts, requests, replicas)

    def _answer(self, lookup: Lookup, wave: int) -> Message:
        """Rows of a wave for all ranks."""
        peers, local, places = self.peers, self._local, self.layout.waves_on[self.peers.rank][wave]
        with torch.profiler.record_function("look up"):
            sums = local.look_up(wave, lookup.joined, lookup.trains)
        lookup.sums += sums
        answered = [own[places.start : places.stop] for own in lookup.answered]
        answers = self._dealer.by_rank(sums, answered)
        if self._partial:
            answers = [self._partial.merge(*own) for own in zip(answers, lookup.asked, strict=True)]
        lookup.kept += answers[peers.rank]
        types = [own[self._in_wave(wave, rank)] for rank, own in enumerate(self._row_types_on)]
        counts = [own[self._in_wave(wave, rank)] for rank, own in enumerate(lookup.wanted)]
        return peers.message_of_rows("vectors", answers, self._codec.vectors, types, counts)

    def _in_wave(self, wave: int, rank: int) -> slice:
        """Which of the lists of rows that a rank answers with; field sums come with the last wave."""
        waves = self.layout.waves_on[rank]
        return slice(waves[wave].start, None if wave == len(waves) - 1 else waves[wave].stop)

    def _at_home(self, lookup: Lookup) -> dict[str, Rows]:
        """Rows of replicated tables."""
        found = self._replicas.look_up(lookup.replicas, self._dealer.bags_at_home(lookup.bags))
        bags = lookup.bags
        return {name: self._partial.rows_of_home(name, rows, bags[name].offsets.diff()) for name, rows in found.items()}


class _Outputs(torch.autograd.Function):
    """Outputs of a lookup, whose backward is its update."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, tables: ShardedTables, lookup: Lookup, rows: list[Tensor], *matrices: Tensor
    ) -> Any:
        ctx.tables, ctx.lookup = tables, lookup
        ctx.set_materialize_grads(False)
        return tuple(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tables, lookup = cast(ShardedTables, ctx.tables), cast(Lookup, ctx.lookup)
        if tables.multiplies:  # what other ranks send is part of the gradient of the matrices
            return None, None, None, None, *tables.update_(lookup, grads)
        tables.send_gradients(lookup, grads)

        def finish() -> None:
            with torch.no_grad(), torch.profiler.record_function("update tables"):
                tables.finish_update_(lookup)

        # at the end of the whole backward, whose rest runs while gradients travel
        torch.autograd.Variable._execution_engine.queue_callback(finish)
        return None, None, None, None


def _by_id(read: Read) -> Read:
    """A read of the same rows one by one."""
    return read.model_copy(update={"mode": "rows"})
