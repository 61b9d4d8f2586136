"""A Bayesian network with a matrix Gaussian for the weights of every layer: a variance for each row and column."""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.models.base import StochasticClassifier
from unshaken.models.draws import Draws, generator
from unshaken.types import Inputs, Logits, Positive, State, Supplied
from unshaken.validate import check_range

MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # layers whose weights are a matrix: outputs by inputs


class Matrix(NamedTuple):
    """One layer, its means being the layer's own tensors, and the logarithms of the variances of rows and columns."""

    name: str
    layer: Any
    rows: Tensor  # log u, (r,): one for each input of the layer, then one for the bias
    columns: Tensor  # log v, (c,): one for each output

    def means(self) -> State:
        """Weight (c, ...) and bias (c,), by their names in the network."""
        return {f"{self.name}.{name}": tensor for name, tensor in self.layer.named_parameters(recurse=False)}

    def cut(self, matrix: Tensor) -> State:
        """A matrix (c, r) as tensors of the shapes of the means."""
        inputs = self.layer.weight[0].numel()
        pieces = {f"{self.name}.weight": matrix[:, :inputs], f"{self.name}.bias": matrix[:, inputs:]}
        return {name: pieces[name].reshape(mean.shape) for name, mean in self.means().items()}

    def outer(self, power: float) -> Tensor:
        """(u_i v_j)^power as a matrix (c, r): variances with power 1, deviations with ½."""
        return torch.outer((power * self.columns).exp(), (power * self.rows).exp())


class MatrixGaussian(StochasticClassifier):
    """W ~ MN(M, diag(u), diag(v)) for every dense or convolutional layer: W_ij ~ N(M_ij, u_i·v_j), independent.

    Rows i are the inputs of a layer and, last, its bias; columns j its outputs. Prior N(0, prior_scale²) for every
    entry. Means start at the network's own initial weights, log u and log v at `initial_log_variance`: at −3, standard
    deviations are .05. The network is copied; what is in no matrix (BatchNorm) is learnt but not random.

    Training a sequence of dense layers draws their outputs instead of their weights, one for each input and
    draw, which makes for less noise (local reparametrisation: Kingma et al., 2015). Draws for attack and inference are
    always of the weights. With the objective `elbo` this is the variational matrix Gaussian of Louizos & Welling,
    "Structured and efficient variational deep learning with matrix Gaussian posteriors" (2016), without their pseudo
    data; with `mixture`, the infinite mixture of Däubener & Fischer (2020).
    """

    kind = "matrix_gaussian"

    def __init__(
        self, net: Supplied[nn.Module], *, prior_scale: Positive = 1.0, initial_log_variance: float = -3.0
    ) -> None:
        check_range("prior_scale", prior_scale, Positive)
        if not math.isfinite(initial_log_variance):
            raise ValueError(f"initial_log_variance must be a finite number; got {initial_log_variance!r}.")
        super().__init__(copy.deepcopy(net).eval().requires_grad_())
        self.prior_scale = prior_scale
        self.matrices = [
            _matrix(name, layer, initial_log_variance)
            for name, layer in self.net.named_modules()
            if isinstance(layer, MATRICES)
        ]
        if not self.matrices:
            raise ValueError("matrix_gaussian needs a network with dense or convolutional layers; this one has none.")
        if len({matrix.layer.weight for matrix in self.matrices}) < len(self.matrices):
            raise ValueError("matrix_gaussian needs a weight of its own for every layer; two layers share one here.")
        self.means = {name: mean for matrix in self.matrices for name, mean in matrix.means().items()}
        self.local = _local_network(self.net, self.matrices)

    def sampler(self) -> Callable[[int, int], State]:
        # a snapshot while drawing, live parameters while training
        training = torch.is_grad_enabled()
        means = self.means if training else {name: mean.clone() for name, mean in self.means.items()}
        scales = [matrix.outer(0.5) for matrix in self.matrices]

        def sample(seed: int, index: int) -> State:
            rng, state = generator(seed, index, self.device), State()
            for matrix, scale in zip(self.matrices, scales, strict=True):
                noise = torch.randn(scale.shape, generator=rng, dtype=scale.dtype, device=scale.device)
                offsets = matrix.cut(scale * noise if training else noise.mul_(scale))
                state |= {name: means[name] + offset for name, offset in offsets.items()}
            return state

        return sample

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        if self.local is None or self.has_dropout:
            return super().training_logits(x, draws, seed)
        self.cost.forwards += draws * len(x)
        rng = generator(seed, 0, x.device)  # one for all layers: their noises are independent
        for layer in self.local:
            if isinstance(layer, LocalDense):
                layer.inputs, layer.draws, layer.rng = len(x), draws, rng
        logits: Tensor = self.local(x)
        return logits.unflatten(0, (draws, len(x)))

    def mean(self) -> Draws:
        return Draws.single({name: mean.detach().clone() for name, mean in self.means.items()}, self.kind)

    def variances(self) -> State:
        with torch.no_grad():
            return {name: variance for m in self.matrices for name, variance in m.cut(m.outer(1)).items()}

    def divergence(self) -> Tensor:
        """Σ over layers of ½[(Σu·Σv + ‖M‖²)/σ² − rc + rc·log σ² − c·Σ log u − r·Σ log v], σ being `prior_scale`.

        Source: Louizos & Welling (2016), the KL divergence of two matrix Gaussians with diagonal covariances.
        """
        total, variance = torch.zeros((), device=self.device), self.prior_scale**2
        for matrix in self.matrices:
            rows, columns = matrix.rows, matrix.columns
            spread = rows.exp().sum() * columns.exp().sum()
            squares = sum((mean.square().sum() for mean in matrix.means().values()), spread)
            logs = len(columns) * rows.sum() + len(rows) * columns.sum()
            total = total + squares / variance - logs + len(rows) * len(columns) * (math.log(variance) - 1)
        return total / 2

    def tensors(self) -> dict[str, Tensor]:
        rows = {f"rows.{matrix.name}": matrix.rows for matrix in self.matrices}
        columns = {f"columns.{matrix.name}": matrix.columns for matrix in self.matrices}
        return {f"mean.{name}": tensor for name, tensor in self.fixed.items()} | rows | columns


def _matrix(name: str, layer: Any, log_variance: float) -> Matrix:
    if "weight" not in dict(layer.named_parameters(recurse=False)):
        raise ValueError(f"layer {name!r} has no weight of its own to be random: its weight is made of other tensors.")
    sizes = (layer.weight[0].numel() + (layer.bias is not None), len(layer.weight))
    rows, columns = (layer.weight.detach().new_full((n,), log_variance).requires_grad_() for n in sizes)
    return Matrix(name, layer, rows, columns)


class LocalDense(nn.Module):
    """The outputs of a dense layer with a matrix Gaussian: N(Mx + m, (Σ_i x_i²u_i + u_bias)·v_j), independent."""

    inputs, draws = 1, 1
    rng: torch.Generator

    def __init__(self, matrix: Matrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        layer, u = self.matrix.layer, self.matrix.rows.exp()
        mean = F.linear(x, layer.weight, layer.bias)
        spread = x.square() @ u[: x.shape[1]] + u[x.shape[1] :].sum()
        deviation = spread.clamp_min(torch.finfo(x.dtype).tiny).sqrt()
        scale = torch.outer(deviation, (self.matrix.columns / 2).exp())
        times = self.draws if len(x) == self.inputs else 1  # the first such layer sees every input once
        noise = torch.randn((times, *mean.shape), generator=self.rng, dtype=mean.dtype, device=mean.device)
        return torch.addcmul(mean, scale, noise).flatten(0, 1)


def _local_network(net: nn.Module, matrices: list[Matrix]) -> nn.Sequential | None:
    """The network with its dense layers made local, sharing all tensors; None where a draw of outputs would not do.

    Outputs are independent only where every layer sees an input once, as a vector.
    """
    dense = all(type(matrix.layer) is nn.Linear for matrix in matrices)
    if not (dense and type(net) is nn.Sequential and isinstance(net[0], nn.Flatten) and len(set(net)) == len(net)):
        return None
    local = {matrix.layer: LocalDense(matrix) for matrix in matrices}
    return nn.Sequential(*(local.get(layer, layer) for layer in net)) if local.keys() <= set(net) else None
