"""Features out of the inside of a module: what one of its layers gives."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Literal, TypeAlias, final

from torch import Tensor, nn

from torchstone.models.model import Encoder, ModelError, Pretrained, Space
from torchstone.models.spaces import narrowed

__all__ = ["LayerFeatures", "Pooling", "called", "hidden", "pooled"]

Pooling: TypeAlias = Literal["mean", "flatten", "first", "last"]


def called(module: nn.Module, x: Tensor) -> object:
    """What ``module`` gives when it is called with a batch."""
    return module(x)


@final
class LayerFeatures(nn.Module, Encoder, Pretrained):
    """What a named layer of any module gives for each example, pooled to a vector.

    The module is run as it is, in the mode that it is in, and gradients pass. In a file of one's own::

        def factory(space: Space) -> LayerFeatures:
            return LayerFeatures(my_network(), space, layer="blocks.3")

    and then ``model=file.py:factory``. Integers come as int64; a module that takes numbers is given them by ``ask``.

    Args:
        module: any module.
        space: that of the examples; labels are not asked for.
        layer: the layer's name, as in ``module.named_modules()``; where it is called several times, the last counts.
        pooling: how a sequence ``(N, T, D)`` or a map ``(N, D, H, W)`` becomes ``(N, D)``; see `pooled`.
        ask: runs the module, the first argument, on a batch, the second, ``(N, *event)``; what it returns is dropped.
        pretraining: what the module was trained on, in words, empty for nothing; it is part of every contract.

    Raises:
        ModelError: where the module has no layer of that name.
    """

    def __init__(
        self,
        module: nn.Module,
        space: Space,
        *,
        layer: str,
        pooling: Pooling = "mean",
        ask: Callable[[nn.Module, Tensor], object] = called,
        pretraining: str = "not said",
    ) -> None:
        super().__init__()
        _named(module, layer)
        self.module, self.layer, self.pooling, self.ask = module, layer, pooling, ask
        self.pretraining = pretraining
        self.space = narrowed(space, space.support, conditional=False)

    def encode(self, x: Tensor) -> Tensor:
        """The pooled answer of the layer to each example, ``(N, D)``.

        Raises:
            ModelError: where the layer is not called, gives no tensor, or one that cannot be pooled to vectors.
        """
        features = pooled(hidden(self.module, self.layer, lambda: self.ask(self.module, x)), self.pooling, self.layer)
        if len(features) != len(x):
            raise ModelError(
                f"The layer {self.layer!r} gave {len(features)} rows for {len(x)} examples: choose a layer whose first "
                "dimension is that of the batch."
            )
        return features


def hidden(module: nn.Module, layer: str, run: Callable[[], object]) -> Tensor:
    """What ``layer`` of ``module`` gives, the last time that it is called, while ``run`` runs.

    Raises:
        ModelError: where there is no such layer, it is not called, or what it gives is no tensor.
    """
    seen: list[object] = []
    handle = _named(module, layer).register_forward_hook(lambda _, inputs, output: seen.append(output))
    try:
        run()
    finally:
        handle.remove()
    if not seen:
        raise ModelError(
            f"The layer {layer!r} of {type(module).__name__} was not called when the module was run: choose one that "
            "is, or run it by ask=…"
        )
    if not isinstance(seen[-1], Tensor):
        raise ModelError(
            f"The layer {layer!r} of {type(module).__name__} gives a {type(seen[-1]).__name__} and not a tensor: "
            "choose a layer inside of it."
        )
    return seen[-1]


def pooled(hidden: Tensor, pooling: Pooling, layer: str = "") -> Tensor:
    """Vectors ``(N, D)`` of what a layer gives: vectors, sequences ``(N, T, D)`` or maps ``(N, D, H, W)``.

    Args:
        hidden: what the layer gives, floating-point.
        pooling: ``mean`` over positions; ``first`` or ``last`` position, of sequences only; ``flatten`` keeps all of
            every shape.
        layer: its name, for messages.

    Raises:
        ModelError: where there is nothing to pool, or positions have no order.
    """
    if not hidden.is_floating_point() or hidden.ndim < 2:
        raise ModelError(
            f"The layer {layer!r} gives {hidden.dtype} of shape {tuple(hidden.shape)}: choose one that gives "
            "floating-point numbers of shape (N, D), (N, T, D) or (N, D, H, W)."
        )
    if pooling == "flatten" or hidden.ndim == 2:
        return hidden.flatten(1)
    if hidden.ndim == 3:
        return hidden.mean(1) if pooling == "mean" else hidden[:, 0 if pooling == "first" else -1]
    if pooling == "mean":
        return hidden.flatten(2).mean(2)
    raise ModelError(
        f"pooling={pooling} takes a position of a sequence (N, T, D), and the layer {layer!r} gives shape "
        f"{tuple(hidden.shape)}: set pooling=mean or pooling=flatten."
    )


def _named(module: nn.Module, layer: str) -> nn.Module:
    layers: dict[str, nn.Module] = dict(module.named_modules())
    if layer in layers:
        return layers[layer]
    near = difflib.get_close_matches(layer, layers, n=3, cutoff=0.3) or [name for name in layers if name][:3]
    raise ModelError(
        f"{type(module).__name__} has no layer {layer!r}; near it are {', '.join(near) or 'none'}; "
        "module.named_modules() lists them all."
    )
