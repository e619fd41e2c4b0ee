"""Conditional and marginal densities: they must be those of one joint density, where a model says that they are."""

from __future__ import annotations

from typing import ClassVar, final

from torchstone.models.model import ExplicitExact
from torchstone.suites.audits.audit import Audit, Finding
from torchstone.suites.audits.subject import Subject

__all__ = ["ConditionalMarginal"]


@final
class ConditionalMarginal(Audit):
    """Of a joint density with a declared p(y), ``log p(x) >= log p(y) + log p(x|y)`` for every example and label.

    No capability of the adapter contract declares a p(y): a conditional model promises p(x|y), an unconditional one
    p(x), and none promises both. So there is nothing that could be violated, and the certificate says so. Where the
    harness itself needs p(x) of a conditional model it adds up ``p(y) p(x|y)`` with a p(y) of its own.
    """

    name: ClassVar[str] = "conditional and marginal"
    claim: ClassVar[str] = "The conditional densities and the marginal one belong to one joint density."

    def audit(self, subject: Subject) -> Finding:
        """Say why there is no joint density to test."""
        if not isinstance(subject.model, ExplicitExact):
            return Finding.not_applicable("The model gives no exact density.")
        if not subject.conditional:
            return Finding.not_applicable("The model takes no labels: it promises p(x) alone.")
        return Finding.not_applicable("The model promises p(x|y) alone, and declares neither p(y) nor p(x).")
