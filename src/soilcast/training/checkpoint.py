"""What a training needs to go on as if it had never stopped: one file, checksummed, replaced in one step."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from soilcast.errors import SoilcastError, raise_system_fault
from soilcast.files import replace_file
from soilcast.workplace import first_difference

CHECKPOINT = "checkpoint.safetensors"

_FORMAT = 1
_ENTRY = "soilcast_checkpoint"
_SHARE = 0.01
"""Of the time of a training, at most this share goes into checkpoints."""


@dataclass(frozen=True)
class Checkpoint:
    """A training at the end of an epoch.

    Parameters
    ----------
    tensors
        Weights, the optimiser's memory, the best weights so far.
    standing
        Numbers and texts: epoch, early stopping, the log. What is drawn in an epoch depends on the seed and the epoch's
        number alone, so these are the random state.
    """

    tensors: Mapping[str, Tensor]
    standing: Mapping[str, Any]


class Checkpoints:
    """Writes and reads the checkpoint of one training.

    Parameters
    ----------
    folder
        Where it is.
    identity
        What the training is of, by name: a checkpoint of anything else is refused, and the name said.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.path = folder / CHECKPOINT
        self._identity = json.loads(json.dumps(identity))
        self._next = 0.0

    def after(self, epochs: Sequence[int]) -> Checkpoints:
        """Give those of the training anew that follows this one, once it has said for how many epochs."""
        folder = self.path.with_name("refit")
        folder.mkdir(exist_ok=True)
        return Checkpoints(folder, {**self._identity, "epochs of the refit": list(epochs)})

    def is_due(self) -> bool:
        """Whether another checkpoint would keep within the share of time that they may take."""
        return time.monotonic() >= self._next

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint: written beside, flushed to the disk, renamed.

        Raises
        ------
        OSError
            It cannot be written (a full disk); the one before stands.
        """
        began = time.monotonic()
        tensors = {name: tensor.cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        content = {"format": _FORMAT, "identity": self._identity, "standing": checkpoint.standing}
        text = json.dumps(content, sort_keys=True)
        entry = json.dumps({"sha256": _digest(text, tensors), "content": text})
        replace_file(self.path, save(tensors, metadata={_ENTRY: entry}))
        self._next = time.monotonic() + (time.monotonic() - began) / _SHARE

    def discard(self) -> None:
        """Remove the checkpoint: the training is done."""
        self.path.unlink(missing_ok=True)

    def read(self) -> Checkpoint | None:
        """Read the checkpoint, if there is one.

        Raises
        ------
        SoilcastError
            It is damaged, or of another training.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as opened:
                described = opened.metadata() or {}
                if _ENTRY not in described:
                    raise ValueError("not a checkpoint")
                entry = json.loads(described[_ENTRY])
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
            if _digest(entry["content"], tensors) != entry["sha256"]:
                raise ValueError("its checksum differs")
            content = json.loads(entry["content"])
            if content["format"] != _FORMAT:
                raise ValueError("another version of soilcast wrote it")
            found, standing = dict(content["identity"]), dict(content["standing"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise_system_fault(error)
            raise SoilcastError(f"{self.path}: cannot be resumed ({error}): start over with --overwrite") from error
        if (name := first_difference(self._identity, found)) is not None:
            raise SoilcastError(
                f"{self.path}: is of {name} {_shown(found.get(name))}, but this training of "
                f"{_shown(self._identity.get(name))}: resume with the same inputs, or start over with --overwrite"
            )
        return Checkpoint(tensors, standing)


def identity_of(path: Path) -> dict[str, Any]:
    """Say what a checkpoint is of; nothing where it cannot be read, which `Checkpoints.read` tells."""
    try:
        with safe_open(path, framework="pt") as opened:
            return dict(json.loads(json.loads(opened.metadata()[_ENTRY])["content"])["identity"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return {}


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _shown(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 32 else json.dumps(value)
