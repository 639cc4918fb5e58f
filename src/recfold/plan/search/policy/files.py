"""Trained policies as files: safetensors, and JSON that says what they were trained on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recfold.plan.search.policy.nets import POLICIES, Policy
from recfold.spec import InputError, unknown

MODELS = Path(__file__).parents[1] / "models"
"""Of the package."""


def save_policy(policy: Policy, name: str, about: Mapping[str, Any], folder: Path = MODELS) -> None:
    """Write `name`.safetensors and `name`.json.

    Args:
        about: the cost it was trained on, settings, curve.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in policy.state_dict().items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps({"policy": name, **about}, indent=1) + "\n", encoding="utf-8")


def load_policy(name: str, folder: Path = MODELS) -> tuple[Policy, dict[str, Any]]:
    """A trained policy, and what is known of its training.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if name not in POLICIES:
        raise unknown("policy", name, POLICIES)
    policy = POLICIES[name]()
    try:
        policy.load_state_dict(load_file(folder / f"{name}.safetensors"))
        about = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, SafetensorError, RuntimeError, json.JSONDecodeError) as error:
        raise InputError(
            f"cannot read policy {name!r} in {folder}", got=str(error), todo="train it with `train_policy`"
        ) from None
    return policy.eval(), about
