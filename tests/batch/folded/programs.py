"""Random programs: operations on folded, lazily concatenated and plain tensors, run folded and unfolded side by side.

A twin is a pair: what the folded program holds, and the ordinary tensor of the plain program. Each step takes twins,
runs one operation on both sides and adds what comes out. Steps where torch refuses the plain tensors have to be refused
for the folded ones too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor

from recfold.batch import Folded, FoldIndex, LazyConcat, TensorLike
from recfold.spec import InputError

WITHIN = 1e-9
LARGEST = 20_000
"""Entries of a tensor above which a program does not go on with it."""

Operation = Callable[..., Any]
OPERATIONS: list[tuple[Callable[["Program"], Any], int]] = []
"""What draws a step, and how often next to the others."""


def operation(weight: int = 1) -> Callable[[Any], Any]:
    def register(draw: Any) -> Any:
        OPERATIONS.append((draw, weight))
        return draw

    return register


class Stop(Exception):
    """The program ends here: a refusal in the midst of a change."""


class NoStep(Exception):
    """There are no operands for this step."""


@dataclass
class Twin:
    folded: Any
    plain: Tensor

    @property
    def ndim(self) -> int:
        return self.plain.dim()

    @property
    def shape(self) -> torch.Size:
        return self.plain.shape

    @property
    def real(self) -> bool:
        return self.plain.is_floating_point()


@dataclass
class Program:
    """A program as it is drawn and run.

    Args:
        rng: where choices come from; hypothesis shrinks them.
        noise: seed of the entries.
    """

    rng: Random
    noise: int
    num_samples: int = 0
    pool: list[Twin] = field(default_factory=list)
    leaves: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    changed: bool = False
    writes: bool = False
    ran_folded: int = 0
    scale: float = 1.0
    within: float = WITHIN

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.noise)
        rng = self.rng
        self.writes = rng.random() < 0.35
        self.num_samples = rng.choice([0, 1, 1, 2, 3, 4, 4, 5, 6, 6])
        self.width = rng.choice([1, 2, 3, 4, self.num_samples or 2])
        self.length = rng.choice([1, 2, 3, self.num_samples or 1])
        indexes = [self.index() for _ in range(rng.choice([1, 1, 2, 3]))]
        for _ in range(rng.choice([2, 3, 4])):
            self.start_folded(rng.choice(indexes))
        for _ in range(rng.choice([1, 2, 3])):
            self.start_plain()

    def index(self) -> FoldIndex:
        rng, num = self.rng, self.num_samples
        rows = rng.choice([1, 1, 2, max(1, num // 2), max(1, num), num + 1, num + 2])
        inverse = [rng.randrange(rows) for _ in range(num)]
        if rng.random() < 0.5:
            inverse.sort()
        if rng.random() < 0.08:
            return FoldIndex.identity(num)
        return FoldIndex(torch.tensor(inverse, dtype=torch.int64), rows)

    def entries(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def start_folded(self, index: FoldIndex) -> None:
        shape = self.rng.choice([(self.width,), (self.width,), (self.length, self.width), (), (2, 2, self.width)])
        values = self.entries(index.num_distinct, *shape).requires_grad_()
        twin = values.detach().clone().requires_grad_()
        self.leaves.append((values, twin))
        inverse = torch.arange(index.num_distinct) if index.inverse is None else index.inverse
        self.pool.append(Twin(Folded(values * 1.0, index), (twin * 1.0)[inverse]))

    def start_plain(self) -> None:
        num, width, length, rng = self.num_samples, self.width, self.length, self.rng
        shape = rng.choice(
            [(width,), (1, width), (num, width), (num, 1), (num,), (), (1,), (num, length, width), (2, num, width),
             (2, 1, width), (num, 1, width), (width, width), (length, width), (num, width)]
        )  # fmt: skip
        self.plain_of(shape)

    def plain_of(self, shape: tuple[int, ...]) -> Twin:
        """A new ordinary tensor, the same on both sides; now and then the same for all samples, with stride 0."""
        values = self.entries(*shape).requires_grad_()
        twin = values.detach().clone().requires_grad_()
        self.leaves.append((values, twin))
        own = Twin(values * 1.0, twin * 1.0)
        if self.rng.random() < 0.1 and shape and shape[0] == 1:
            own = Twin(own.folded.expand(self.num_samples, *shape[1:]), own.plain.expand(self.num_samples, *shape[1:]))
        self.pool.append(own)
        return own

    def pick(self, wanted: Callable[[Twin], bool] = lambda twin: True, *, folded: float = 0.8) -> Twin:
        """A twin that fits; mostly one whose folded side is no ordinary tensor, and mostly a late one."""
        fits = [twin for twin in self.pool if wanted(twin)]
        if not fits:
            raise NoStep
        like = [twin for twin in fits if isinstance(twin.folded, TensorLike)]
        if like and self.rng.random() < folded:
            fits = like
        return fits[-1 - min(self.rng.randrange(len(fits)), self.rng.randrange(len(fits)))]

    def real(self, wanted: Callable[[Twin], bool] = lambda twin: True, *, folded: float = 0.8) -> Twin:
        return self.pick(lambda twin: twin.real and wanted(twin), folded=folded)

    def axis(self, ndim: int) -> int:
        """An axis from either end; now and then one that is not there."""
        if ndim == 0:
            return self.rng.choice([0, -1])
        return self.rng.randrange(-ndim, ndim) if self.rng.random() > 0.02 else ndim

    def run(self, name: str, func: Operation, *operands: Twin, writes: bool = False) -> list[Twin]:
        """Both sides of one operation.

        Args:
            writes: it changes operands in place: the folded side may refuse that, and the program ends there.
        """
        if writes:
            self._refuse_siblings(operands[0])
        self.steps.append(f"{name} {[(_kind(twin.folded), tuple(twin.shape)) for twin in operands]}")
        plain_error: Exception | None = None
        try:
            expected = func(*(twin.plain for twin in operands))
        except Exception as error:
            plain_error = error
        try:
            found = func(*(twin.folded for twin in operands))
        except InputError:
            if plain_error is not None:
                if writes:
                    raise Stop from None
                return []
            if writes:
                raise Stop from None
            raise
        except Exception as error:
            if writes and _only_of_memory(error):
                raise Stop from None
            if plain_error is None:
                raise
            if writes:
                raise Stop from None
            return []
        if plain_error is not None and _only_of_memory(plain_error):
            raise Stop
        if plain_error is not None:
            raise AssertionError(f"{self.steps[-1]}: torch refuses this with {plain_error!r}, folded gave {found!r}")
        self.changed = self.changed or writes
        outputs = []
        if any(right.dtype == torch.float32 for right in _tensors(expected)) or "float32" in name:
            self.within = 1e-4
        for own, right in zip(_tensors(found), _tensors(expected), strict=True):
            twin = Twin(own, right)
            self.check(twin)
            self.ran_folded += isinstance(own, TensorLike)
            outputs.append(twin)
            if right.numel() <= LARGEST:
                self.pool.append(twin)
        return outputs

    def _refuse_siblings(self, target: Twin) -> None:
        """Ordinary tensors that were copied out of different views of one folded tensor do not see each other."""
        if isinstance(target.folded, TensorLike):
            return
        for twin in self.pool:
            shared = _same_memory(twin.plain, target.plain)
            if shared and isinstance(twin.folded, Tensor) and not _same_memory(twin.folded, target.folded):
                raise Stop

    def check(self, twin: Twin) -> None:
        where = "\n".join(self.steps)
        assert tuple(twin.folded.shape) == tuple(twin.plain.shape), where
        assert twin.folded.dtype == twin.plain.dtype, where
        found = _written_out(twin.folded)
        assert found.shape == twin.plain.shape, where
        right = twin.plain.detach()
        if right.numel() and right.is_floating_point():
            largest = right[right.isfinite()].abs().max() if right.isfinite().any() else torch.tensor(0.0)
            self.scale = max(self.scale, float(largest))
        _assert_near(found.detach(), right, self.scale, where, self.within)

    def step(self) -> None:
        (draw,) = self.rng.choices([draw for draw, _ in OPERATIONS], [weight for _, weight in OPERATIONS])
        try:
            draw(self)
        except NoStep:
            return

    def finish(self) -> None:
        """Everything once more, as later changes in place may have reached it, and gradients of all that is real."""
        where = "\n".join(self.steps)
        folded, plain = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for twin in self.pool:
            self.check(twin)
            if twin.plain.dtype == torch.float64 and twin.plain.requires_grad:
                weights = torch.randn(twin.shape, generator=self.generator, dtype=torch.float64)
                folded = folded + (twin.folded * weights).sum()
                plain = plain + (twin.plain * weights).sum()
        if not plain.requires_grad:
            return
        try:
            right = torch.autograd.grad(plain, [b for _, b in self.leaves], allow_unused=True)
        except RuntimeError:
            if self.changed:
                return
            raise
        found = torch.autograd.grad(folded, [a for a, _ in self.leaves], allow_unused=True)
        for a, b, (leaf, _) in zip(found, right, self.leaves, strict=True):
            one, other = (torch.zeros_like(leaf) if grad is None else grad for grad in (a, b))
            finite = other[other.isfinite()]
            scale = max(self.scale, float(finite.abs().max()) if finite.numel() else 1.0)
            _assert_near(one, other, scale, where + "\ngradients", self.within)


def run_program(rng: Random, noise: int, most_steps: int = 12) -> Program:
    """One program.

    Raises:
        AssertionError: the folded run differs from the plain one.
    """
    program = Program(rng, noise)
    try:
        for _ in range(rng.randrange(1, most_steps)):
            program.step()
        program.finish()
    except Stop:
        pass
    except InputError:
        if not program.changed:
            raise
    except RuntimeError as error:  # torch's own refusal of what was changed in place: loud, so never a wrong number
        if not (program.changed and _only_of_memory(error)):
            raise
    return program


def operand_shape(p: Program, to: Twin) -> tuple[int, ...]:
    """The shape of an operand that broadcasts with another; leading axes more or fewer."""
    shape = [size if p.rng.random() < 0.6 else 1 for size in to.shape]
    cut = p.rng.randrange(len(shape) + 1) if p.rng.random() < 0.5 else 0
    extra = [p.rng.choice([1, 2, max(1, p.num_samples)])] if p.rng.random() < 0.2 and cut == 0 else []
    return (*extra, *shape[cut:])


def tilted(given: Any, axis: int) -> Any:
    """Entries that are equal but for rounding no longer are: which is largest is then the same on both sides."""
    if not -given.dim() <= axis < given.dim():
        return given
    shape = [1] * given.dim()
    shape[axis] = given.shape[axis]
    return given + torch.arange(given.shape[axis], dtype=torch.float64).mul(0.0137).sin().view(shape)


def fits(first: Twin, second: Twin) -> bool:
    try:
        return torch.broadcast_shapes(first.shape, second.shape).numel() <= 5000
    except RuntimeError:
        return False


def drawn_index(p: Program, shape: torch.Size, *, simple: bool = False) -> Any:
    """What may stand in brackets."""
    items: list[Any] = []
    kinds = (
        ["all", "all", "all", "slice", "int"]
        if simple
        else ["all", "all", "all", "slice", "int", "list", "tensor", "mask", "wide"]
    )
    for size in shape[: p.rng.randrange(len(shape) + 1)]:
        kind = p.rng.choice(kinds)
        if kind == "all":
            items.append(slice(None))
        elif kind == "slice":
            items.append(
                p.rng.choice([slice(1, None), slice(None, -1), slice(0, 2), slice(None, None, 2), slice(0, size)])
            )
        elif kind == "mask":
            items.append(torch.tensor([p.rng.random() < 0.5 for _ in range(size)]))
        elif size == 0:
            items.append(slice(None))
        elif kind == "int":
            items.append(p.rng.randrange(-size, size))
        else:
            chosen = [p.rng.randrange(size) for _ in range(2)]
            items.append(chosen if kind == "list" else torch.tensor(chosen if kind == "tensor" else [chosen]))
    if p.rng.random() < 0.2:
        items.insert(p.rng.randrange(len(items) + 1), Ellipsis)
    if p.rng.random() < 0.2:
        items.insert(p.rng.randrange(len(items) + 1), None)
    return items[0] if len(items) == 1 and p.rng.random() < 0.7 else tuple(items)


def _assert_near(found: Tensor, right: Tensor, scale: float, where: str, within: float) -> None:
    if not right.is_floating_point():
        assert torch.equal(found, right), where
        return
    torch.testing.assert_close(
        found, right, rtol=within, atol=within * scale, equal_nan=True, msg=lambda text: f"{text}\n{where}"
    )


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _only_of_memory(error: Exception) -> bool:
    """Torch refuses because of how a tensor lies in memory, or of what was changed in place: not so if folded."""
    told = (
        "view size is not compatible",
        "modified by an inplace",
        "is a view and its base",
        "is a view and is being",
        "single memory location",
    )
    return any(text in str(error) for text in told)


def _written_out(given: Any) -> Tensor:
    return given.unfold() if isinstance(given, TensorLike) else given


def _tensors(given: Any) -> list[Any]:
    if isinstance(given, (Tensor, TensorLike)):
        return [given]
    if isinstance(given, (tuple, list)):
        return [part for item in given for part in _tensors(item)]
    return []


def _kind(given: Any) -> str:
    if isinstance(given, Folded):
        return f"Folded@{given.batch_axis}/{given.num_distinct}"
    return f"LazyConcat@{given.batch_axis}|{given.axis}" if isinstance(given, LazyConcat) else type(given).__name__
