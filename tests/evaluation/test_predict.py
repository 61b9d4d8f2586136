"""One score per class from many draws: each rule is a plain mean over draws, however the work is cut."""

from __future__ import annotations

import pytest
import torch

from oracles import CoinClassifier, raises_sentence, small_inputs, small_model
from unshaken.evaluation.predict import RULES, predict
from unshaken.models import MODELS

X, _ = small_inputs(20, dtype=torch.float64)
DRAWS = 21
PLAIN = {
    "probability": lambda z: torch.exp(z) / torch.exp(z).sum(-1, keepdim=True),
    "logit": lambda z: z,
    "vote": lambda z: (z == z.amax(-1, keepdim=True)).double(),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", MODELS)
def test_scores_are_plain_means_over_draws_for_every_batch_size(rule, kind):
    model = small_model(kind, dtype=torch.float64)
    draws = model.draw(DRAWS, seed=0)
    each = torch.stack([model.logits(X, draws[s : s + 1])[0] for s in range(DRAWS)])
    expected = PLAIN.get(rule, RULES[rule])(each).mean(0)
    for batch_size in (256, 7, 1):
        torch.testing.assert_close(predict(model, X, draws, rule=rule, batch_size=batch_size), expected)


@pytest.mark.parametrize("rule", ["probability", "vote"])
def test_rows_of_probabilities_and_votes_sum_to_1(rule):
    model = small_model("mean_field", dtype=torch.float64)
    scores = predict(model, X, model.draw(DRAWS, seed=0), rule=rule)
    assert scores.shape == (20, 3)
    assert (scores >= 0).all()
    torch.testing.assert_close(scores.sum(1), torch.ones(20, dtype=scores.dtype))


def test_a_vote_is_the_share_of_draws_that_say_so():
    coin = CoinClassifier(0.3)
    draws = coin.draw(50, seed=0)
    heads = sum(bool(state["scores"][0] > 0) for state in draws)
    assert 0 < heads < 50
    torch.testing.assert_close(predict(coin, X[:1], draws, rule="vote"), torch.tensor([[heads / 50, 1 - heads / 50]]))


def test_the_logits_of_all_draws_and_inputs_pass_by_once():
    model = small_model("mean_field", dtype=torch.float64)
    draws = model.draw(DRAWS, seed=0)
    chunks: dict[int, list[torch.Tensor]] = {}
    predict(model, X, draws, batch_size=7, on_logits=lambda rows, z: chunks.setdefault(rows.start, []).append(z))
    assert model.cost.forwards == DRAWS * len(X)
    passed = torch.cat([torch.cat(parts) for _, parts in sorted(chunks.items())], dim=1)
    torch.testing.assert_close(passed, model.logits(X, draws))


def test_no_graph_is_kept():
    model = small_model("mean_field")
    assert not predict(model, X.float().requires_grad_(), model.draw(2, seed=0)).requires_grad


def test_an_unknown_rule_is_answered_with_the_nearest():
    model = small_model("mean_field")
    with raises_sentence("unknown prediction rule 'probabilty': did you mean 'probability'"):
        predict(model, X, model.draw(2, seed=0), rule="probabilty")
