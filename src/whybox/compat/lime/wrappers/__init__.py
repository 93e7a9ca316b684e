"""``lime.wrappers``."""

from __future__ import annotations
