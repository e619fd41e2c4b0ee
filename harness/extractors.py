"""Training of the extractor that ships for 8×8 digits: ``python -m torchstone.harness.extractors --output FILE``.

The weights in the package were made by this command; another version of torch gives others, and other numbers.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from torchstone.harness.checkpoints import save_checkpoint
from torchstone.harness.fitting import fit
from torchstone.models.randomness import generator, seeded
from torchstone.suites.data.embedded import digits
from torchstone.suites.features.digits import DigitsClassifier
from torchstone.suites.features.weights import file_hash

__all__ = ["train"]

STEPS, SEED = 2000, 0


def train(steps: int = STEPS) -> DigitsClassifier:
    """The classifier, trained on the training split of the digits; the validation split chooses among its weights."""
    with seeded(generator(SEED, "initialisation")):
        classifier = DigitsClassifier()
    fit(classifier, digits(), steps, SEED, lambda stage, done, total: None)
    return classifier


@click.command()
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def command(output: Path) -> None:
    """Train the extractor for 8×8 digits, say how well it tells them apart, and write its weights."""
    classifier, data = train(), digits()
    save_checkpoint(classifier, output, {"model": "DigitsClassifier", "data": data.fingerprint, "steps": str(STEPS)})
    for name, split in data.splits.items():
        x, y = split.batch(0, len(split))
        assert y is not None
        with torch.no_grad():
            right = int(torch.eq(classifier.log_prob_label(x).argmax(1), y).sum())
        click.echo(f"{name}: {right} of {len(x)} are told right")
    click.echo(f"{output}: sha256 {file_hash(output)}")


if __name__ == "__main__":
    command()
