"""Pictures of features and of what probes made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from torchstone.models.encoders.augmentations import view
from torchstone.models.model import Discrete, Model, Space
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.metrics.classification import confusions
from torchstone.suites.pictures.conditional import confusion_matrix
from torchstone.suites.pictures.representation import (
    Curve,
    feature_map,
    few_label_curves,
    nearest_examples,
    view_similarity,
)
from torchstone.suites.probing.controls import Controls
from torchstone.suites.probing.features import ask_features
from torchstone.suites.probing.probes import Probes
from torchstone.suites.probing.task import Task

__all__ = ["portraits"]

VIEWS = 24  # examples of the similarity matrix
ROWS, COLUMNS = 8, 8  # examples, and neighbours of each
SHOWN = 1000  # dots of a map
LEAST, PERPLEXITY = 10, 30.0  # examples, and neighbours that t-SNE looks at
SINGULAR = 1e-9


def portraits(
    model: Model, data: Dataset, task: Task, own: Probes, controls: Controls, context: Context
) -> dict[str, bytes]:
    """PNG files by name."""
    given = own.linear.log_prob.argmax(1)
    found = {"confusion": confusion_matrix(confusions(task.test_y, given, task.classes))}
    if own.few:
        groups = {"features": (own,), "random weights": controls.random, "pixels": (controls.fixed["pixels"],)}
        if "whitened" in controls.fixed:
            groups["whitened pixels"] = (controls.fixed["whitened"],)
        curves = [_curve(name, probes) for name, probes in groups.items() if probes]
        found["few-labels"] = few_label_curves(curves, 1 / task.classes)
    found["features"] = feature_map(_maps(task, context), task.test_y[:SHOWN], task.classes)
    found["neighbours"] = _neighbours(data, task)
    found["views"] = view_similarity(_views(model, data, context))
    return found


def _curve(name: str, probes: Sequence[Probes]) -> Curve:
    """Accuracies by labels, with the mean credits of several probes."""
    few = [torch.stack([each.few[n] for each in probes]).mean((0, 2)) for n in probes[0].few]
    everything = float(torch.stack([each.linear.credits for each in probes]).mean())
    return Curve(name, tuple(probes[0].few), torch.stack(few, 1), everything)


def _maps(task: Task, context: Context) -> dict[str, Tensor]:
    """The test features in two dimensions: principal components of the training features, and t-SNE."""
    train, test = task.train, task.test[:SHOWN]
    _, _, axes = torch.linalg.svd(train - train.mean(0), full_matrices=False)
    places = functional.pad(test @ axes[:2].T, (0, max(0, 2 - len(axes[:2]))))
    found = {"principal components": places}
    if len(test) >= LEAST and float(test.std(0, correction=0).amax()) > SINGULAR:
        found["t-SNE"] = _t_sne(test, context)
    return found


def _t_sne(features: Tensor, context: Context) -> Tensor:
    """Source: Visualizing Data using t-SNE (van der Maaten and Hinton, 2008)."""
    from sklearn.manifold import TSNE

    seed = int(torch.randint(2**31 - 1, (), generator=context.rng("t-SNE", device="cpu")))
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    made = TSNE(2, perplexity=perplexity, random_state=seed, init="pca" if features.shape[1] > 1 else "random")
    return torch.from_numpy(made.fit_transform(features.float().numpy()))


def _neighbours(data: Dataset, task: Task) -> bytes:
    train, test = data.split("train"), data.split("test")
    rows = torch.linspace(0, len(test) - 1, min(ROWS, len(test))).long()
    known, asked = functional.normalize(task.train, dim=1), functional.normalize(task.test[rows], dim=1)
    nearest = (asked @ known.T).topk(min(COLUMNS, len(known)), 1).indices
    return nearest_examples(test.x[rows], train.x[nearest], torch.eq(task.y[nearest], task.test_y[rows][:, None]))


def _views(model: Model, data: Dataset, context: Context) -> Tensor:
    """Cosine similarities of features of two random views of each test example, about the mean of all of them."""
    x, _ = data.split("test").batch(0, VIEWS)
    rng = context.rng("views", device="cpu")
    views = [ask_features(model, _viewed(x, data.space, rng).to(context.device), data).double() for _ in range(2)]
    middle = torch.cat(views).mean(0)
    first, second = (functional.normalize(view - middle, dim=1) for view in views)
    return first @ second.T


def _viewed(x: Tensor, space: Space, rng: torch.Generator) -> Tensor:
    """Random views of examples as stored, as examples are stored."""
    shape, images = space.event_shape, len(space.event_shape) in (2, 3)
    numbers = x.float() if x.is_floating_point() else x.float() * (2 / (_top(space))) - 1
    seen = view(numbers.reshape(len(x), -1, *shape[-2:]) if images else numbers.flatten(1), space, 1.0, rng)
    back = seen.reshape(x.shape)
    return back.to(x.dtype) if x.is_floating_point() else ((back + 1) * (_top(space) / 2)).round().long()


def _top(space: Space) -> int:
    assert isinstance(space.support, Discrete)
    return space.support.levels - 1
