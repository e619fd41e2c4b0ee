"""Priors of latents that are learned together with the model."""

from __future__ import annotations

from typing import final

import torch
from torch import nn
from torch.distributions import Distribution

__all__ = ["FlowPrior"]


@final
class FlowPrior(nn.Module):
    r"""A normalising flow over latents: a Gaussian, bent by affine autoregressive maps.

    .. math:: p(z) = N(f(z);\ 0, I)\ |\det \partial f / \partial z|

    The maps take the latents in turns from the first and from the last. A density costs one pass of each map, a draw
    one for each latent. Their networks are smooth, so that the density has a gradient everywhere.

    Reference: Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
    arXiv:1705.07057; as the prior of an autoencoder: Chen et al., "Variational Lossy Autoencoder", 2016,
    arXiv:1611.02731.

    Args:
        latents: dimensions of z.
        transforms: how many maps are composed.
        width: features of each of the two hidden layers of a map.
    """

    def __init__(self, latents: int, transforms: int = 4, width: int = 64) -> None:
        super().__init__()
        import zuko

        orders = (torch.arange(latents), torch.arange(latents).flip(0))
        maps = [
            zuko.flows.MaskedAutoregressiveTransform(
                latents, order=orders[index % 2], hidden_features=(width, width), activation=nn.GELU
            )
            for index in range(transforms)
        ]
        zero = torch.zeros(latents)
        base = zuko.lazy.UnconditionalDistribution(zuko.distributions.DiagNormal, zero, zero + 1, buffer=True)
        self.flow = zuko.flows.Flow(maps, base)

    def forward(self) -> Distribution:
        """The prior as it is now: batch shape ``()``, event shape ``(latents,)``."""
        prior: Distribution = self.flow()
        return prior
