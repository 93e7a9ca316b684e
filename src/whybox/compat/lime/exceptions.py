"""``lime.exceptions``: what lime calls its error is whybox's own."""

from __future__ import annotations

from whybox.errors import WhyboxError as LimeError

__all__ = ["LimeError"]
