"""Why a label fell or did not: the conditions of one input, and its margins along the perturbation."""

from typing import NamedTuple

import torch
from torch import Tensor

from unshaken.analysis.robustness import Robustness, robustness, smoothness_of
from unshaken.evaluation.predict import predict
from unshaken.models import Draws, StochasticClassifier
from unshaken.types import Inputs, Labels

REACH, POINTS = 3.0, 61  # how far the perturbation is followed, in its own length, and at how many points


class Explanation(NamedTuple):
    """One input x with label y and one perturbation δ, under one set of inference draws; its tensors are on the CPU."""

    label: int
    before: Tensor  # (K,), probabilities at x
    after: Tensor  # (K,), at x + δ
    robustness: Robustness  # of this input alone: (K,) and scalars
    smoothness: float | None  # L
    scales: Tensor  # (T,), from 0 to REACH
    margins: Tensor  # (T, K), f_y − f_c at x + scale · δ, not clipped to the box

    @property
    def falls_at(self) -> float | None:
        """The scale at which x + scale · δ is first not classified as y; None where it always is."""
        least = self.margins.scatter(1, torch.full((len(self.margins), 1), self.label), torch.inf).amin(1)
        wrong = (least < 0).nonzero()
        if not len(wrong):
            return None
        first = int(wrong[0])
        if first == 0:
            return 0.0
        last = first - 1  # at which it is still right; the margin between the two points is taken as linear
        share = float(least[last] / (least[last] - least[first]))
        return float(self.scales[last] + share * (self.scales[first] - self.scales[last]))

    @property
    def nearest(self) -> int:
        """The class that the linear condition says is reached first."""
        return int(self.robustness.linear_class)

    @property
    def needed_cosine(self) -> float:
        """The cosine at which a perturbation of this length would reach the nearest class if its margin were linear.

        −margin / (‖∇margin‖ · ‖δ‖): below −1, no direction of this length would do.
        """
        margin, norm, length = self.robustness.margin, self.robustness.gradient_norm, self.robustness.length
        return float(-margin[self.nearest] / (norm[self.nearest] * length))

    @property
    def needed_length(self) -> float:
        """The length at which the best direction would reach some class if the margins were linear."""
        reach = self.robustness.margin / self.robustness.gradient_norm  # ∞ in the place of the label
        return float(reach.nan_to_num(nan=torch.inf).amin())


def explanations(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    x_adv: Inputs,
    draws: Draws,
    *,
    smoothness: float | str | None = None,
    rule: str = "probability",
) -> list[Explanation]:
    """An `Explanation` for every input: what `robustness` says, and the margins along the line through x and x_adv.

    Arguments and errors are those of `robustness`.
    """
    results = robustness(model, x, y, x_adv, draws, smoothness=smoothness, rule=rule)
    results = Robustness._make(None if field is None else field.cpu() for field in results)
    kept, limit, explained = draws.keep(), smoothness_of(model, smoothness), []
    scales = torch.linspace(0, REACH, POINTS, dtype=x.dtype, device=x.device)
    for i, label in enumerate(y.tolist()):
        line = x[i] + scales.view(-1, *[1] * (x.dim() - 1)) * (x_adv[i] - x[i])
        inputs = torch.cat([line, x_adv[i : i + 1]])
        scores = predict(model, inputs, kept, rule=rule).double().cpu()
        margins = scores[:-1, label : label + 1] - scores[:-1]
        result = results.select(i)
        explained.append(Explanation(label, scores[0], scores[-1], result, limit, scales.cpu(), margins))
    return explained
