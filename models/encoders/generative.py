"""Features of generative models: hidden layers of the transformer and of the denoiser of a diffusion."""

from __future__ import annotations

from typing import Annotated, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from torchstone.models.encoders.hidden import Pooling, hidden, pooled
from torchstone.models.exact.transformer import Transformer
from torchstone.models.implicit.diffusion import Diffusion
from torchstone.models.model import Budget, Encoder, ModelError, Space, Split, Trainable
from torchstone.models.randomness import generator

__all__ = ["DiffusionFeatures", "TransformerFeatures"]


@final
class TransformerFeatures(nn.Module, Encoder, Trainable):
    """What a block of the autoregressive transformer gives, pooled over the positions of an example.

    The transformer is fitted to the density of the data, without labels.

    Reference: Chen et al., "Generative Pretraining from Pixels", 2020.

    Args:
        space: discrete data of any shape.
        block: which block is read, counted from 1.
        depth: number of blocks.
        pooling: the mean over positions, all positions in a row, the first or the last, in raster order.
        width: features of a position, and dimensions of the features unless all positions are kept.

    Raises:
        ModelError: where there is no such block, or the data are not discrete.
    """

    def __init__(
        self,
        space: Space,
        *,
        block: Annotated[int, Ge(1)] = 1,
        depth: Annotated[int, Ge(1)] = 2,
        pooling: Pooling = "mean",
        width: Annotated[int, Ge(1)] = 64,
    ) -> None:
        super().__init__()
        _require_block(block, depth, "depth")
        self.transformer = Transformer(space, depth=depth, width=width)
        self.space, self.layer, self.pooling = self.transformer.space, f"blocks.{block - 1}", pooling
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """The block's output, pooled over positions, ``(N, width)`` or ``(N, dims width)``."""
        return pooled(hidden(self.transformer, self.layer, lambda: self.transformer.conditionals(x)), self.pooling)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Fit the transformer, as it fits itself."""
        self.transformer.fit(train, validation, budget, rng=rng)
        self.eval()


@final
class DiffusionFeatures(nn.Module, Encoder, Trainable):
    r"""What a block of a diffusion's denoiser gives for an example with noise, averaged over a few noise vectors.

    .. math:: f(x) = \tfrac{1}{R} \sum_r h(\sqrt{1 - v}\ x + \sqrt{v}\ \epsilon_r)

    The noise vectors are the same for every example and at every call, so that features are a function of the example
    alone. The diffusion is fitted to the density of the data, without labels.

    Reference: Xiang et al., "Denoising Diffusion Autoencoders are Unified Self-supervised Learners", 2023,
    arXiv:2303.09769.

    Args:
        space: discrete data of any shape.
        block: which residual block is read, counted from 1.
        noise: the variance v of the noise; the step of the chain that comes nearest is taken.
        draws: how many noise vectors, R.
        blocks: how many residual perceptrons the denoiser has.
        width: features of its hidden layers, and dimensions of the features.
        batch: examples in a minibatch.

    Raises:
        ModelError: where there is no such block, or the data are not discrete.
    """

    vectors: Tensor

    def __init__(
        self,
        space: Space,
        *,
        block: Annotated[int, Ge(1)] = 6,
        noise: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
        draws: Annotated[int, Ge(1)] = 8,
        blocks: Annotated[int, Ge(1)] = 6,
        width: Annotated[int, Ge(1)] = 128,
        batch: Annotated[int, Ge(1)] = 128,
    ) -> None:
        super().__init__()
        _require_block(block, blocks, "blocks")
        self.diffusion = Diffusion(space, blocks=blocks, width=width, batch=batch)
        self.space, self.layer = self.diffusion.space, f"network.blocks.{block - 1}"
        self.step = int((1 - self.diffusion.signal - noise).abs().argmin())
        vectors = torch.randn((draws, space.dims), generator=generator(0, "diffusion features"), dtype=torch.float64)
        self.register_buffer("vectors", vectors, persistent=False)
        self.eval()

    def reset_parameters(self) -> None:
        """Forget the mean and deviation of the training data, which the diffusion keeps beside its weights."""
        nn.init.zeros_(self.diffusion.centre)
        nn.init.constant_(self.diffusion.spread, 0.5)

    def encode(self, x: Tensor) -> Tensor:
        """The mean of the block's output over noise vectors, ``(N, width)``."""
        signal = self.diffusion.signal[self.step]
        clean = x.flatten(1).to(signal) * (2 / (self.diffusion.levels - 1)) - 1
        noisy = (signal.sqrt() * clean[:, None] + (1 - signal).sqrt() * self.vectors).flatten(0, 1)
        step = torch.full((len(noisy),), self.step, device=noisy.device)
        found = hidden(self.diffusion, self.layer, lambda: self.diffusion.denoise(noisy, step, torch.zeros_like(step)))
        return found.reshape(len(x), len(self.vectors), -1).mean(1)

    def fit(self, train: Split, validation: Split, budget: Budget, *, rng: torch.Generator) -> None:
        """Fit the diffusion, as it fits itself."""
        self.diffusion.fit(train, validation, budget, rng=rng)
        self.eval()


def _require_block(block: int, blocks: int, setting: str) -> None:
    if block > blocks:
        raise ModelError(
            f"block={block} is none of the {blocks} blocks: set model.block={blocks} or model.{setting}={block}."
        )
