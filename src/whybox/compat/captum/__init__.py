"""captum (0.9): ``from whybox.compat.captum.attr import IntegratedGradients``."""

from __future__ import annotations
