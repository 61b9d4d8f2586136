"""Ensembles: several networks that predict together, trained as one model or separately and joined afterwards."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from unshaken.errors import lookup
from unshaken.models.base import StochasticClassifier, dropout_from, mode
from unshaken.models.deterministic import Deterministic
from unshaken.models.draws import Draws, derive, state_index
from unshaken.models.wrapper import Wrapper
from unshaken.networks import NETWORKS
from unshaken.types import Count, Inputs, Logits, Members, OneOf, PartOf, State, Supplied
from unshaken.validate import check_range


class Ensemble(StochasticClassifier):
    """k members, each a network of its own: p(y|x) = (1/k) Σ_i softmax(z_i(x)).

    Draws are the members: draws 0 to k − 1 are each of them once, in an order of the seed's, and so on in turns; with
    draws "all" they are each of them once. Training sees all members at every step, whatever the number of draws: what
    makes them one model is a loss of the mean probability. Every member has BatchNorm statistics and dropout masks of
    its own, and architectures may differ. There is no mean network.

    Args:
        nets: the members, two or more; their tensors are shared, so training the ensemble trains them.

    Source: Grefenstette et al., "Strength in numbers: trading-off robustness and computation via adversarially-trained
    ensembles" (2018), section 3.
    """

    kind = "ensemble"
    finite = True

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        check_range("members", len(nets), Members)
        if kinds := [net.kind for net in nets if isinstance(net, StochasticClassifier)]:
            raise ValueError(f"an ensemble is made of networks; got a model of kind {kinds[0]!r}: use joined.")
        if len({tuple(map(id, net.parameters())) or id(net) for net in nets}) < len(nets):
            raise ValueError("the same network is a member twice: an ensemble needs networks of their own.")
        self.members = [Deterministic(net) for net in nets]
        super().__init__(nn.ModuleDict({f"member{number}": one.net for number, one in enumerate(self.members, 1)}))
        self.execution.vectorises = False
        for member in self.members:
            member.cost = self.cost
        self.checked_shapes: set[tuple[int, ...]] = set()

    def __len__(self) -> int:
        return len(self.members)

    def member(self, number: int) -> Deterministic:
        """Member `number`, from 1, as a model by itself; it shares its tensors with the ensemble."""
        check_range("number", number, Count)
        if number > len(self):
            raise ValueError(f"number must be that of one of the {len(self)} members, from 1; got {number}.")
        return Deterministic(self.members[number - 1].net)

    def sampler(self) -> Callable[[int, int], State]:
        return lambda seed, index: {"member": torch.tensor(state_index(seed, index, len(self)))}

    def all(self) -> Draws:
        return Draws.all_members([{"member": torch.tensor(number)} for number in range(len(self))], self.kind)

    def logits(self, x: Inputs, draws: Draws) -> Logits:
        self.check_alike(x)
        return super().logits(x, draws)

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        return self.members[int(state["member"])].forward(x, {}, training=training)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        """Logits (k, B, K) of every member, whatever `draws` is; each has dropout masks of its own."""
        self.check_alike(x)
        each = list[Tensor]()
        for number, member in enumerate(self.members):
            with dropout_from(derive(seed, "dropout", number), x, enabled=member.has_dropout):
                each.append(member.forward(x, {}, training=True))
        return torch.stack(each)

    def check_alike(self, x: Inputs) -> None:
        """Every member takes inputs like x and knows as many classes; checked at the first inputs of a shape."""
        shape, classes = tuple(x.shape[1:]), list[int]()
        if shape in self.checked_shapes:
            return
        for number, member in enumerate(self.members, 1):
            try:
                with torch.no_grad(), mode(member.net, training=False):
                    classes.append(member.net(x[:1]).shape[-1])
            except RuntimeError as error:
                reason = str(error).splitlines()[0].rstrip(".")
                message = f"member {number} takes no inputs of shape {shape}, as all members must: {reason}."
                raise ValueError(message) from error
        if len(set(classes)) > 1:
            raise ValueError(f"members must know the same classes; theirs are {classes} in number.")
        self.checked_shapes.add(shape)


class Together(Wrapper):
    """An ensemble as one network: what its members say is put together before any loss sees it.

    With `combine` "logit" the logits are Σ_i w_i z_i, with "probability" log Σ_i w_i softmax(z_i). w_i is 1/k, or the
    softmax of what a gate says of x. All draws are alike. An attack on it holds the graphs of all members at once.

    Args:
        model: the ensemble.
        combine: a key of COMBINE.
        gate: a network (B, ...) → (B, k), trained with the members.

    Source: Grefenstette et al. (2018): "logit" is what their appendix A.2 calls the ensemble without softmax; they
    mention a gate without telling its form.
    """

    kind = "together"
    model: Ensemble

    def __init__(self, model: Ensemble, *, combine: str = "probability", gate: nn.Module | None = None) -> None:
        super().__init__(model)
        self.combine_logits = lookup("combine", combine, COMBINE)
        self.gate = None if gate is None else Deterministic(gate)
        if self.gate is not None:
            self.net = nn.ModuleDict({**dict(model.net.named_children()), "gate": self.gate.net})
            self.gate.cost = self.cost

    def sampler(self) -> Callable[[int, int], State]:
        return lambda seed, index: {}

    def draw(self, n: int, *, seed: int = 0) -> Draws:
        return super().draw(n, seed=seed).of_one_network()

    def all(self) -> Draws:
        return self.draw(1)

    mean, fill, parameters = StochasticClassifier.mean, StochasticClassifier.fill, StochasticClassifier.parameters

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        return self._joined(x, self.model.logits(x, self.model.all()), training=False)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        logits = self.model.training_logits(x, draws, seed)
        masked = self.gate is not None and self.gate.has_dropout
        with dropout_from(derive(seed, "dropout", "gate"), x, enabled=masked):
            return self._joined(x, logits, training=True).unsqueeze(0)

    def _joined(self, x: Inputs, logits: Logits, *, training: bool) -> Tensor:
        """The members' logits (k, B, K) as one (B, K)."""
        if self.gate is None:
            log_weights = logits.new_full(logits.shape[:2], -math.log(len(logits)))
        else:
            scores, shape = self.gate.forward(x, {}, training=training), (len(x), len(self.model))
            if scores.shape != shape:
                raise ValueError(
                    f"a gate must have an output for each of the {len(self.model)} members, {shape} for these inputs; "
                    f"got {tuple(scores.shape)}."
                )
            log_weights = scores.log_softmax(-1).T
        return self.combine_logits(logits, log_weights.unsqueeze(-1))

    def tensors(self) -> dict[str, Tensor]:
        gate = {} if self.gate is None else {f"gate.{name}": tensor for name, tensor in self.gate.tensors().items()}
        return self.model.tensors() | gate


COMBINE: dict[str, Callable[[Logits, Tensor], Tensor]] = {
    "probability": lambda logits, log_weights: (logits.log_softmax(-1) + log_weights).logsumexp(0),
    "logit": lambda logits, log_weights: (logits * log_weights.exp()).sum(0),
}
"""(logits of the members (k, B, K), logarithms of their weights (k, B, 1)) -> logits (B, K)."""
CombineName = Annotated[str, OneOf(COMBINE)]


def ensemble(
    net: Supplied[Sequence[nn.Module]],
    shape: Supplied[Sequence[int]],
    *,
    members: Members | None = None,
    combine: CombineName = "probability",
    gate: Annotated[Callable[..., nn.Module], PartOf(NETWORKS)] | None = None,
) -> Ensemble | Together:
    """An ensemble of `members` networks (by default two) of [network], or of the networks that it lists.

    They predict by the mean of their probabilities, or of their logits; with a gate, a network that is told the input
    and has an output for each member, by a weighted mean.
    """
    if members is not None and members != len(net):
        raise ValueError(f"members is {members}, but {len(net)} networks are listed: leave it out.")
    return _combined(Ensemble(list(net)), combine, None if gate is None else gate(tuple(shape), len(net)))


def joined(
    models: Supplied[Sequence[StochasticClassifier]], *, of: Sequence[str] = (), combine: CombineName = "probability"
) -> Ensemble | Together:
    """The networks of models that are trained already (of each member, where one is an ensemble), predicting together.

    `of` are the labels of these models in a recipe. Tensors are shared.

    Source: "SeparateEnsemble2Adv" of Grefenstette et al. (2018), section 4.1.
    """
    return _combined(Ensemble([net for model in models for net in networks_of(model)]), combine, None)


def _combined(members: Ensemble, combine: str, gate: nn.Module | None) -> Ensemble | Together:
    """The mean of probabilities is what an ensemble predicts without being one network."""
    return members if combine == "probability" and gate is None else Together(members, combine=combine, gate=gate)


def member(
    models: Supplied[Sequence[StochasticClassifier]], *, of: Sequence[str] = (), number: Count = 1
) -> Deterministic:
    """One member of an ensemble that is trained already, by itself; `of` is the label of that ensemble in a recipe."""
    if len(models) != 1:
        raise ValueError(f"a member is taken out of one ensemble; got {len(models)}: {', '.join(of)}.")
    model = models[0].model if isinstance(models[0], Together) else models[0]
    if not isinstance(model, Ensemble):
        raise ValueError(f"only an ensemble has members; {' '.join(of) or 'this'} is of kind {model.kind!r}.")
    return model.member(number)


def networks_of(model: StochasticClassifier) -> list[nn.Module]:
    """The networks that a model consists of, which other models can be made of."""
    if isinstance(model, Together) and model.gate is None:
        model = model.model
    if isinstance(model, Ensemble):
        return [member.net for member in model.members]
    if isinstance(model, Deterministic):
        return [model.net]
    raise ValueError(f"only networks and ensembles of them can be joined; got a {model.kind!r} model.")
