"""Nested state (dicts, lists, scalars, tensors) as a flat dict of tensors plus a JSON tree, and back exactly.

The tree holds plain JSON values as they are and everything else as an object with one key that names its kind:

    {"dict": [[key, value], ...]}   keys keep their type: optimizers number their parameters 0, 1, 2
    {"tuple": [...]}                lists are JSON lists
    {"counter": [[key, n], ...]}    collections.Counter (milestones of MultiStepLR)
    {"float": "nan"}                nan, inf, -inf, which JSON does not have
    {"tensor": name}                the tensor stored under that name
    {"array": name}                 the same, given back as a numpy array
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recfold.spec import InputError


def flatten(state: Any, name: str = "state") -> tuple[dict[str, Tensor], Any]:
    """Take nested state apart.

    Args:
        state: dicts (with string or number keys), lists, tuples, Counters, tensors, numpy arrays, strings, integers,
            floats, bools, None, nested in any way: what torch's optimizers and schedules return.
        name: first part of every tensor's name, and of the path in an error.
    Returns:
        The tensors by name (detached, contiguous, on the CPU, no two sharing memory), and the JSON-able tree.
    Raises:
        InputError: something else is inside, such as a function: it names the place and the type.

    Example:
        >>> tensors, tree = flatten({0: {"step": torch.tensor(3.0)}, "betas": (0.9, 0.999)})
        >>> tree
        {'dict': [[0, {'dict': [['step', {'tensor': 'state.0.step'}]]}], ['betas', {'tuple': [0.9, 0.999]}]]}
        >>> unflatten(tensors, tree)
        {0: {'step': tensor(3.)}, 'betas': (0.9, 0.999)}
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _flatten(state, name, tensors)


def unflatten(tensors: Mapping[str, Tensor], tree: Any) -> Any:
    """Put together what `flatten` took apart.

    Raises:
        InputError: the tree names a tensor that is not there, or a kind of value that is unknown.
    """
    if isinstance(tree, list):
        return [unflatten(tensors, item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) != 1:
        raise InputError("broken state tree", got=f"an object with {len(tree)} keys", expected="one key, the kind")
    ((kind, content),) = tree.items()
    if kind == "dict":
        return {unflatten(tensors, key): unflatten(tensors, value) for key, value in content}
    if kind == "counter":
        return Counter({unflatten(tensors, key): value for key, value in content})
    if kind == "tuple":
        return tuple(unflatten(tensors, item) for item in content)
    if kind == "float":
        return float(content)
    if kind in ("tensor", "array"):
        if content not in tensors:
            raise InputError(f"broken state: tensor {content!r} is missing")
        return tensors[content] if kind == "tensor" else tensors[content].numpy()
    raise InputError("broken state tree", got=f"kind {kind!r}", expected="dict, counter, tuple, float, tensor or array")


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    # bool before int, and exact types: a subclass (an enum, a numpy float) would come back as another type
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, Tensor):
        return {"tensor": _keep(value, path, tensors)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return {"array": _keep(torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape)), path, tensors)}
    if isinstance(value, Mapping):
        pairs = [[_key(key, path), _flatten(item, f"{path}.{key}", tensors)] for key, item in value.items()]
        return {"counter" if isinstance(value, Counter) else "dict": pairs}
    if isinstance(value, list | tuple):
        items = [_flatten(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise InputError(
        f"cannot save {path}",
        got=f"a {type(value).__name__}",
        expected="tensors, numbers, strings and containers of them",
    )


def _key(key: Any, path: str) -> Any:
    if key is None or type(key) in (bool, int, str):
        return key
    if type(key) is float:
        return key if math.isfinite(key) else {"float": repr(key)}
    raise InputError(f"cannot save {path}", got=f"a key of type {type(key).__name__}", expected="a string or a number")


def _keep(tensor: Tensor, path: str, tensors: dict[str, Tensor]) -> str:
    name, copy = path, 1
    while name in tensors:  # {"a.b": x, "a": {"b": y}}
        copy += 1
        name = f"{path}#{copy}"
    # a copy: views of one storage are legal in state and not in safetensors, and training goes on while it is written
    tensors[name] = tensor.detach().to("cpu", copy=True).contiguous()
    return name
