"""Lumigrid's client for notebooks: see lumigrid.lumigator_demo."""

__version__ = "0.1.0"
