"""What there is, a line for each entry, and a recipe with every setting."""

from pathlib import Path

from small_recipes import RUN, read

from unshaken.runs.catalogue import catalogue, describe


def test_every_entry_has_one_line() -> None:
    tables = catalogue()
    assert {"recipes", "attacks", "models", "losses", "datasets"} <= tables.keys()
    for table in tables.values():
        assert all(text and "\n" not in text for text in table.values())


def test_a_description_has_every_setting_and_the_work(path: Path) -> None:
    text = describe(read(path))
    for line in (
        "A small run",
        "data        name=digits, train_limit=200, test_limit=40",
        "model       mean_field: mean_field(prior_scale=1.0",
        "network     mlp(widths=[16])",
        "attacks     MEAN, FGSM-1, FGSM-4",
        "eps         0.1, 0.2",
        "evaluation  draws=6, rule=probability, batch_size=256, repeats=2",
        "units       9 (1 to train)",
        "  MEAN         mean(loss=log_error",
    ):
        assert line in text
    assert "objective=elbo(draws=1, kl_scale=1.0)" in text


def test_the_networks_of_members_are_joined_by_a_plus(path: Path) -> None:
    listed = '[[network]]\nkind = "mlp"\nwidths = [3]\n[[network]]\nkind = "mlp"\nwidths = [4]\n'
    path.write_text(RUN.replace('[network]\nkind = "mlp"\nwidths = [16]\n', listed).replace("mean_field", "ensemble"))
    text = describe(read(path, "attacks=[{kind='fgsm'}]"))
    assert "network     mlp(widths=[3]) + mlp(widths=[4])" in text
