"""What a training that was cut off is resumed from, to the same bits."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.optim import Optimizer

from unshaken.models import StochasticClassifier
from unshaken.store import Damaged, read_tensors, write_tensors
from unshaken.training.history import Epoch

HISTORY = TypeAdapter(list[Epoch])


@dataclass
class TrainingState:
    """Model and optimizer as they are after the epochs of `history`; `best`: tensors of the best evaluation so far."""

    model: StochasticClassifier
    optimizer: Optimizer
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write one safetensors file, in place at once or not at all."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.tensors().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        history = json.dumps([asdict(epoch) for epoch in self.history])
        write_tensors(path, tensors, {"kind": self.model.stored_kind, "history": history})

    def load(self, path: Path) -> None:
        """Fill model and optimizer, and take over history and best tensors; `ValueError` where it is another's file."""
        metadata, tensors = read_tensors(path)
        try:
            history = HISTORY.validate_json(metadata.get("history", ""))
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc'])) or 'history'}: {first['msg']}"
            message = f"{path} is damaged or of another version ({problem}): delete it to train from the start."
            raise Damaged(message) from error
        self.model.fill(_under("model.", tensors), metadata.get("kind", "?"), str(path))
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.history, self.best = history, _under("best.", tensors)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
