"""What stands for a tensor without being one: the attributes, methods and operators that modules ask a tensor for."""

import dis
import functools
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

import recfold.batch.folded.dispatch as calls
from recfold.batch.folded.loans import Loans
from recfold.spec import InputError

if TYPE_CHECKING:
    from recfold.batch.fold_index import FoldIndex


class TensorLike:
    """Something that takes a tensor's place in ordinary modules.

    Every function of torch that is called with it comes to `__torch_function__`, above autograd; its own methods and
    operators are those of `torch.Tensor` and take the same way. What it holds are ordinary tensors.

    Not an abstract base class: `isinstance`, asked of every argument of every operation, is ten times as quick without.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return calls.dispatch(func, tuple(args), dict(kwargs or {}))

    def unfold(self, *windows: Any, **kwargs: Any) -> Any:
        """The tensor it stands for, an ordinary one; with arguments, `torch.Tensor.unfold` of it."""
        if windows or kwargs:
            return calls.dispatch(torch.Tensor.unfold, (self, *windows), kwargs)
        if torch.compiler.is_compiling():
            from recfold.batch.folded.compiled import written_out

            return written_out(self)
        calls.refuse_autograd_function()
        self.check_unchanged()
        return self.written_out()

    def written_out(self) -> Tensor:
        """The tensor it stands for, every sample's row copied out."""
        raise NotImplementedError

    @property
    @property
    def num_samples(self) -> int:
        """Size of its batch axis."""
        raise NotImplementedError

    @property
    def indexes(self) -> tuple["FoldIndex", ...]:
        """The indexes of what it holds folded."""
        raise NotImplementedError

    def check_unchanged(self) -> None:
        """What it holds is what it stands for (see `loans`).

        Raises:
            InputError: a view of it was written to that is a copy here.
        """
        raise NotImplementedError

    def lend(self, copy: Tensor, whole: Tensor | None = None) -> None:
        """Remember a copy that stands in for a view of it.

        Args:
            whole: all of it written out, which the copy is a view of.
        """
        raise NotImplementedError

    def on_loan(self) -> Tensor | None:
        """All of it written out, where views of that are in use: other views must be of the same memory."""
        raise NotImplementedError

    @property
    def shape(self) -> torch.Size:
        """Of the tensor it stands for."""
        raise NotImplementedError

    @property
    def held(self) -> tuple[Tensor, ...]:
        """The ordinary tensors that it holds."""
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype:
        return functools.reduce(torch.promote_types, (tensor.dtype for tensor in self.held))

    @property
    def device(self) -> torch.device:
        return self.held[0].device

    @property
    def layout(self) -> torch.layout:
        return torch.strided

    @property
    def requires_grad(self) -> bool:
        return any(tensor.requires_grad for tensor in self.held)

    @property
    def is_leaf(self) -> bool:
        return all(tensor.is_leaf for tensor in self.held)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    @property
    def is_nested(self) -> bool:
        return False

    is_sparse = is_sparse_csr = is_quantized = is_mkldnn = is_meta = is_xla = is_mps = is_xpu = is_mtia = is_nested

    @property
    def T(self) -> Any:
        return self.permute(*range(self.ndim - 1, -1, -1))

    @property
    def mT(self) -> Any:
        return self.transpose(-2, -1)

    @property
    def data(self) -> Any:
        return self.detach()

    @property
    def grad(self) -> None:
        """A tensor in the midst of a computation has none: gradients are those of the tensors it was made from."""
        return

    def dim(self) -> int:
        return self.ndim

    def ndimension(self) -> int:
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        return self.shape.numel()

    nelement = numel

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_contiguous(self, memory_format: torch.memory_format = torch.contiguous_format) -> bool:
        return all(tensor.is_contiguous(memory_format=memory_format) for tensor in self.held)

    def element_size(self) -> int:
        return self.dtype.itemsize

    def get_device(self) -> int:
        return self.held[0].get_device()

    def requires_grad_(self, requires_grad: bool = True) -> NoReturn:
        raise InputError(
            f"requires_grad_ of a {type(self).__name__} tensor means nothing",
            todo="call it on the tensor it was made from, or on .unfold()",
        )

    retain_grad = register_hook = requires_grad_

    def __len__(self) -> int:
        """Size of the first axis.

        Raises:
            InputError: an ordinary tensor is indexed with this one. Torch asks whether it is a list of indices, one per
                axis; told that it has no length, torch takes it as one index, by way of `__array__`.
        """
        if _subscripts(sys._getframe(1)):
            raise InputError(
                f"an ordinary tensor is indexed with a {type(self).__name__} one, which it cannot take",
                todo="call .unfold() on the index, or use torch.nn.functional.embedding to look rows up",
            )
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        return bool(self.unfold())

    def __float__(self) -> float:
        return float(self.unfold())

    def __int__(self) -> int:
        return int(self.unfold())

    def __index__(self) -> int:
        return self.unfold().__index__()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.unfold().__array__(*args, **kwargs)

    @property
    def mH(self) -> Any:
        return self.mT.conj()

    H = mH

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        method = getattr(torch.Tensor, name, None)
        if method is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}, nor has a tensor")
        if callable(method):
            return functools.partial(_called, method, self)
        return getattr(self.unfold(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("data", "grad"):
            raise InputError(f"{name} of a {type(self).__name__} tensor cannot be set", todo="set it on .unfold()")
        object.__setattr__(self, name, value)


def _subscripts(frame: Any) -> bool:
    """Whether a frame is at `a[b]` or `a[b] = c`: asking b for its length is then torch's doing."""
    code, at = frame.f_code.co_code, frame.f_lasti
    if at < 0:
        return False
    name = dis.opname[code[at]]
    return name in ("BINARY_SUBSCR", "STORE_SUBSCR") or (name == "BINARY_OP" and code[at + 1] == _SUBSCRIPT)


_SUBSCRIPT = 26
"""Argument of BINARY_OP for `a[b]`, from Python 3.14 on."""


def _called(method: Callable[..., Any], own: TensorLike, *args: Any, **kwargs: Any) -> Any:
    return calls.dispatch(method, (own, *args), kwargs)


def _operator(name: str) -> Callable[..., Any]:
    method = getattr(torch.Tensor, name)

    def operator(self: TensorLike, *args: Any) -> Any:
        return calls.dispatch(method, (self, *args), {})

    operator.__name__ = name
    return operator


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_OPERATORS = (
    *(f"__{name}__" for name in _BINARY),
    *(f"__r{name}__" for name in _BINARY if hasattr(torch.Tensor, f"__r{name}__")),
    *(f"__i{name}__" for name in _BINARY if hasattr(torch.Tensor, f"__i{name}__")),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__neg__", "__abs__", "__invert__"),
    *("__getitem__", "__setitem__", "__contains__"),
)
for _name in _OPERATORS:
    setattr(TensorLike, _name, _operator(_name))


def tensor_likes(given: Any) -> list[TensorLike]:
    """Every TensorLike in arguments: inside lists, tuples and mappings too."""
    if isinstance(given, TensorLike):
        return [given]
    if isinstance(given, Mapping):
        return [found for value in given.values() for found in tensor_likes(value)]
    if isinstance(given, (list, tuple)):
        return [found for value in given for found in tensor_likes(value)]
    return []


class Lazy(TensorLike):
    """A tensor-like that is not computed yet.

    Attributes:
        loans: of what it is a view of.
    """

    __slots__ = ()
    loans: Loans

    def check_unchanged(self) -> None:
        self.loans.check_reading()

    def lend(self, copy: Tensor, whole: Tensor | None = None) -> None:
        self.loans.lend(copy, whole, self._key())

    def on_loan(self) -> Tensor | None:
        return self.loans.find(self._key()) if self.loans.any() else None

    def _key(self) -> Hashable:
        """What tells it from others that share its loans."""
        raise NotImplementedError

    def settled(self) -> Any:
        """The same as a Folded where that is well below the batch, else as an ordinary tensor."""
        raise NotImplementedError

    def written_out(self) -> Tensor:
        found = self.settled()
        return found.unfold() if isinstance(found, TensorLike) else found


def plain(tensor: Tensor | TensorLike) -> Tensor:
    """An ordinary tensor, whatever is given."""
    return tensor.unfold() if isinstance(tensor, TensorLike) else tensor
