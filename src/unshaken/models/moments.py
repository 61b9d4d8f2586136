"""Mean and variance of the logits in one pass: every layer turns the moments of its input into those of its output.

Weights and activations are taken as independent Gaussians. Sources: Hernández-Lobato & Adams, "Probabilistic
backpropagation" (2015), for dense layers and ReLU; Clark, "The greatest of a finite set of random variables" (1961),
for the maximum of two.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.networks import Normalise, Residual
from unshaken.types import State

Shift = tuple[int, int]  # (rows down, columns to the right)
Covariances: TypeAlias = Callable[[list[Shift]], dict[Shift, Tensor]]


class Moments(NamedTuple):
    """Mean and variance of every entry of a tensor; the variance is None where nothing is random.

    Entries of one image share weights: `covariances(shifts)` gives Cov(x_p, x_{p + shift}) for every p (anything where
    p + shift is outside). Without it, entries count as independent.
    """

    mean: Tensor
    variance: Tensor | None = None
    covariances: Covariances | None = None


Weights = dict[str, Moments]  # of one layer, by name: weight and bias, or those of the layers inside it


def propagate(net: nn.Module, weights: State, variances: State, x: Moments) -> Moments:
    """Moments (B, K) of the logits of a network of layers in sequence, for inputs with moments x (B, ...).

    `weights` holds the means of its tensors by name, `variances` the variances of those that are random.

    Raises ValueError for a layer that has no rule in RULES, by name, before anything is computed.
    """
    learnt = [tensor for _, layer in _layers(net, "", branches=True) for tensor in layer.parameters()]
    if len(set(learnt)) < len(learnt):
        raise ValueError("there is no moment rule for a layer that is used twice: its outputs share their weights.")
    return _through(net, x, {name: Moments(tensor, variances.get(name)) for name, tensor in weights.items()})


def _through(net: nn.Module, x: Moments, weights: Weights) -> Moments:
    """The moments of net(x), one layer after the other; `weights` has the names of the net's own tensors."""
    for prefix, layer in _pooled_first(_layers(net, "")):
        learnt = {prefix + name for name, _ in layer.named_parameters()}
        of_layer = {
            name.removeprefix(prefix): w
            for name, w in weights.items()
            if name in learnt or (w.variance is not None and name.startswith(prefix))
        }
        x = RULES[type(layer)](layer, x, of_layer)
    return x


def _layers(net: nn.Module, prefix: str, *, branches: bool = False) -> list[tuple[str, nn.Module]]:
    """(prefix of its tensors' names, layer) in forward order; with `branches`, also those inside a `Residual`."""
    if type(net) is nn.Sequential or (branches and type(net) is Residual):
        children = [(name, child) for name, child in net._modules.items() if child is not None]  # repeats included
        return [pair for name, child in children for pair in _layers(child, f"{prefix}{name}.", branches=branches)]
    if type(net) not in RULES:
        kind = type(net).__name__
        layer = f"layer {prefix[:-1]!r} ({kind})" if prefix else f"a network of class {kind}"
        supported = ", ".join(kind.__name__ for kind in RULES if kind.__module__.startswith("torch."))
        raise ValueError(f"there is no moment rule for {layer}; there are rules for Sequential nets of {supported}.")
    return [] if RULES[type(net)] is unchanged else [(prefix, net)]


def _pooled_first(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """The same function with max-pooling before a rising activation: fewer entries, and Clark's rule sees Gaussians."""
    for i in range(len(layers) - 1):
        layer, after = layers[i][1], layers[i + 1][1]
        rising = isinstance(layer, nn.ReLU) or (isinstance(layer, nn.LeakyReLU) and layer.negative_slope >= 0)
        if rising and isinstance(after, nn.MaxPool2d):
            layers[i], layers[i + 1] = layers[i + 1], layers[i]
    return layers


def dense(layer: nn.Module, x: Moments, weights: Weights) -> Moments:
    """Wx + b: mean E[W]E[x] + E[b], variance Σ V[W](E[x]² + V[x]) + E[W]²V[x] + V[b]."""
    return _affine(F.linear, x, weights)


def convolution(layer: Any, x: Moments, weights: Weights) -> Moments:
    """As `dense`, with every output's window as its inputs."""
    if layer.padding_mode != "zeros":
        raise ValueError(f"the moment rule of Conv2d pads with zeros only; got padding_mode {layer.padding_mode!r}.")
    product = partial(F.conv2d, **{name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")})
    output, spread = _affine(product, x, weights), weights["weight"].variance
    if spread is None:
        return output

    def covariances(shifts: list[Shift]) -> dict[Shift, Tensor]:
        """Σ V[W] E[x_p] E[x_q] + V[b]: of two outputs by the weights that they share."""
        down, right = layer.stride
        moved = [x.mean * _moved(x.mean, rows * down, columns * right) for rows, columns in shifts]
        bias = weights["bias"].variance if "bias" in weights else None
        return dict(zip(shifts, product(torch.cat(moved), spread, bias).split(len(x.mean)), strict=True))

    return output._replace(covariances=covariances)


def _affine(product: Callable[..., Tensor], x: Moments, weights: Weights) -> Moments:
    weight, bias = weights["weight"], weights.get("bias", Moments(None, None))  # type: ignore[arg-type]
    if bias.variance is not None and weight.variance is None:
        weight = Moments(weight.mean, torch.zeros_like(weight.mean))
    mean = product(x.mean, weight.mean, bias.mean)
    if weight.variance is None and x.variance is None:
        return Moments(mean)
    variance = torch.zeros(())
    if weight.variance is not None:
        squares = x.mean.square() if x.variance is None else x.mean.square() + x.variance
        variance = product(squares, weight.variance, bias.variance)
    if x.variance is not None:
        variance = variance + product(x.variance, weight.mean.square(), None)
    return Moments(mean, variance)


def batch_norm(layer: Any, x: Moments, weights: Weights) -> Moments:
    """(x − running mean) / running deviation, then times weight plus bias: a `dense` layer of one input per output."""
    if layer.running_mean is None:
        raise ValueError("the moment rule of BatchNorm needs running statistics; this layer keeps none.")
    if not weights:  # a layer without weights of its own multiplies by one
        ones = torch.ones_like(layer.running_var)
        weights = {"weight": Moments(ones), "bias": Moments(torch.zeros_like(ones))}
    wide = (1, -1, *[1] * (x.mean.dim() - 2))
    scale = (layer.running_var + layer.eps).rsqrt().view(wide)
    mean = (x.mean - layer.running_mean.view(wide)) * scale
    standard = Moments(mean, None if x.variance is None else x.variance * scale.square())
    weights = {name: _apply(lambda tensor: tensor.view(wide), w) for name, w in weights.items()}
    output = _affine(lambda a, weight, bias: a * weight if bias is None else a * weight + bias, standard, weights)
    weight, bias = weights["weight"], weights["bias"]

    def covariances(shifts: list[Shift]) -> dict[Shift, Tensor]:
        """E[w]²s² Cov(x_p, x_q) + V[w](s² Cov(x_p, x_q) + z_p z_q) + V[b], z being the standardised mean."""
        before = x.covariances(shifts) if x.covariances else {}
        after = {}
        for shift in shifts:
            shared = before.get(shift, torch.zeros_like(mean)) * scale.square()
            after[shift] = weight.mean.square() * shared
            if weight.variance is not None:
                after[shift] = after[shift] + weight.variance * (shared + mean * _moved(mean, *shift))
            if bias.variance is not None:
                after[shift] = after[shift] + bias.variance
        return after

    return output._replace(covariances=covariances) if x.mean.dim() == 4 else output


def _moved(x: Tensor, rows: int, columns: int) -> Tensor:
    """The entry so many rows below and columns to the right, at the place of every entry; zero outside."""
    height, width = x.shape[-2:]
    rows, columns = max(-height, min(rows, height)), max(-width, min(columns, width))
    return F.pad(x, (-columns, columns, -rows, rows))


def leaky_relu(layer: Any, x: Moments, weights: Weights) -> Moments:
    """a·x + (1 − a)·max(x, 0), a Gaussian's covariance with its rectified self being V[x]Φ(E[x]/√V[x])."""
    slope = getattr(layer, "negative_slope", 0.0)
    if x.variance is None:
        return Moments(F.leaky_relu(x.mean, slope))
    mean, variance, above = rectified(x.mean, x.variance)
    if slope == 0:
        return Moments(mean, variance)
    variance = (1 - slope) ** 2 * variance + x.variance * (slope**2 + 2 * slope * (1 - slope) * above)
    return Moments(torch.lerp(mean, x.mean, slope), variance)


def max_pool(layer: Any, x: Moments, weights: Weights) -> Moments:
    """The maximum over a window, two entries at a time, with the covariances of its entries if there are any."""
    _check_pool(layer)
    if x.variance is None:
        return Moments(layer(x.mean))
    size, stride = _pair(layer.kernel_size), _pair(layer.stride)
    cells = [(row, column) for row in range(size[0]) for column in range(size[1])]

    def entries(image: Tensor, cell: Shift) -> Tensor:
        """The entry in one cell of every window."""
        last = (image.shape[axis] - size[axis] + cell[axis] + 1 for axis in (-2, -1))
        rows, columns = map(slice, cell, last, stride)
        return image[..., rows, columns]

    means, variances = ([entries(moment, cell) for cell in cells] for moment in (x.mean, x.variance))
    pairs = [(i, j) for j in range(len(cells)) for i in range(j)]
    covariances: dict[tuple[int, int], Tensor | float] = dict.fromkeys(pairs, 0.0)
    if x.covariances is not None:
        shifts = {(i, j): (cells[j][0] - cells[i][0], cells[j][1] - cells[i][1]) for i, j in pairs}
        by_shift = x.covariances(sorted(set(shifts.values())))
        covariances = {(i, j): entries(by_shift[shifts[i, j]], cells[i]) for i, j in pairs}
    return greatest(means, variances, covariances)


LEAST = 1e-4  # least variance of a difference, as a share: two entries that are the same have a gradient of 0 · ∞


def greatest(means: list[Tensor], variances: list[Tensor], covariances: dict[tuple[int, int], Any]) -> Moments:
    """The maximum of Gaussians, replacing the first two by their maximum until one is left; `covariances` of i < j.

    max(a, b) = b + max(d, 0) with d = a − b; its covariance with c is Cov(a, c)P(d > 0) + Cov(b, c)P(d < 0).
    """
    left = list(range(len(means)))
    while len(left) > 1:
        a, b, *rest = left
        shared = covariances[a, b]
        both = variances[a] + variances[b]
        difference = torch.maximum(both - 2 * shared, LEAST * both)
        mean, variance, above = rectified(means[a] - means[b], difference)
        new = len(means)
        means.append(means[b] + mean)
        variances.append((variances[b] + variance + 2 * (shared - variances[b]) * above).clamp_min(0))
        for c in rest:
            with_a, with_b = (covariances[min(c, one), max(c, one)] for one in (a, b))
            covariances[c, new] = with_b + (with_a - with_b) * above
        left = [*rest, new]
    return Moments(means[-1], variances[-1])


def average_pool(layer: Any, x: Moments, weights: Weights) -> Moments:
    """The mean over a window of k entries: the variance falls by k."""
    _check_pool(layer)
    return _apply(layer, x, math.prod(_pair(layer.kernel_size)))


def global_average(layer: Any, x: Moments, weights: Weights) -> Moments:
    """As `average_pool`, the window being the whole image: its entries count as independent."""
    if _pair(layer.output_size) != (1, 1):
        raise ValueError(f"the moment rule of AdaptiveAvgPool2d is for an output of size 1; got {layer.output_size}.")
    return _apply(layer, x, math.prod(x.mean.shape[-2:]))


def _check_pool(layer: Any) -> None:
    if layer.padding not in (0, (0, 0)) or layer.ceil_mode or getattr(layer, "dilation", 1) not in (1, (1, 1)):
        raise ValueError(f"the moment rule of {type(layer).__name__} knows no padding, dilation or ceil_mode: {layer}.")


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _apply(move: Callable[[Tensor], Tensor], x: Moments, entries: int = 1) -> Moments:
    """The same for the mean and the variance: a change of place, or a mean of so many entries."""
    return Moments(move(x.mean), None if x.variance is None else move(x.variance) / entries)


def normalised(layer: Any, x: Moments, weights: Weights) -> Moments:
    """(x − mean) / std: the variance falls by std²."""
    return Moments(layer(x.mean), None if x.variance is None else x.variance / layer.std.square())


def residual(layer: Any, x: Moments, weights: Weights) -> Moments:
    """main(x) + shortcut(x): means and variances add up, as if the two were independent, though both see the same x."""
    main, shortcut = (
        _through(branch, x, {name: weights[f"{prefix}.{name}"] for name, _ in branch.named_parameters()})
        for prefix, branch in (("main", layer.main), ("shortcut", layer.shortcut))
    )
    variances = [branch.variance for branch in (main, shortcut) if branch.variance is not None]
    return Moments(main.mean + shortcut.mean, sum(variances[1:], variances[0]) if variances else None)


def dropped(layer: Any, x: Moments, weights: Weights) -> Moments:
    """x·m, every entry with a mask m of its own, of mean 1 and variance p/(1 − p); off where the mask is not random.

    E[x·m] = E[x], V[x·m] = V[x] + V[m]·(E[x]² + V[x]); covariances of different entries stay as they are.
    """
    mask = weights.get("mask0")
    if mask is None or mask.variance is None:
        return x
    if layer.channels:
        raise ValueError("the moment rule of dropout knows no whole channels: there is none for Dropout1d, 2d and 3d.")
    squares = x.mean.square() if x.variance is None else x.mean.square() + x.variance
    spread = mask.variance * squares
    return x._replace(variance=spread if x.variance is None else x.variance + spread)


def unchanged(layer: nn.Module, x: Moments, weights: Weights) -> Moments:
    """Dropout too is off in a network that is attacked."""
    return x


RULES: dict[type[nn.Module], Callable[[nn.Module, Moments, Weights], Moments]] = {
    nn.Linear: dense,
    nn.Conv2d: convolution,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.ReLU: leaky_relu,
    nn.LeakyReLU: leaky_relu,
    nn.MaxPool2d: max_pool,
    nn.AvgPool2d: average_pool,
    nn.AdaptiveAvgPool2d: global_average,
    nn.Flatten: lambda layer, x, weights: _apply(layer, x),
    Normalise: normalised,
    Residual: residual,
    nn.Identity: unchanged,
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), unchanged),
}


def rectified(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(E[r], V[r], P(g > 0)) of r = max(g, 0) for a Gaussian g with this mean and variance."""
    return Rectified.apply(mean, variance)


class Rectified(torch.autograd.Function):
    """`rectified` with its derivatives in closed form, which costs a third of what autograd makes of the formula.

    With σ² = V[g], α = E[g]/σ and Φ, φ of α: E[r] = E[g]Φ + σφ and
    V[r] = σ²(Φ + α²Φ(1 − Φ) + αφ(1 − 2Φ) − φ²), a form without the difference of two large squares.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        deviation = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt_()
        alpha = (mean / deviation).clamp_(-LARGEST, LARGEST)
        density = alpha.square().mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
        above = alpha.mul(math.sqrt(0.5)).erf_().add_(1).mul_(0.5)
        first = (mean * above).addcmul_(deviation, density)
        tilt = (1 - 2 * above).mul_(density).addcmul_(alpha, above - above * above)
        spread = tilt.mul_(alpha).add_(above).addcmul_(density, density, value=-1).clamp_min_(0)
        ctx.save_for_backward(first, deviation, alpha, density, above)
        return first, spread.mul_(variance), above

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor]:
        """With V[r] = E[r²] − E[r]²: ∂E[r]/∂E[g] = Φ, ∂E[r]/∂σ² = φ/2σ, ∂E[r²]/∂E[g] = 2E[r], ∂E[r²]/∂σ² = Φ."""
        first, deviation, alpha, density, above = ctx.saved_tensors
        of_first, of_variance, of_above = upstream
        density = density / deviation
        of_mean = (above * of_first).addcmul_(density, of_above)
        of_mean.addcmul_(first * of_variance, 1 - above, value=2)
        of_spread = (alpha * of_above).div_(deviation).neg_().add_(of_first).mul_(density).mul_(0.5)
        of_spread.addcmul_(above - first * density, of_variance)
        return of_mean, of_spread


LARGEST = 10.0  # |α| beyond which Φ(α) is 0 or 1 in float32
