"""The command `anymodal`: its commands and what they share."""

from __future__ import annotations

from workers.cli.main import anymodal, main

__all__ = ["anymodal", "main"]
