"""Graphs of spots: who is whose neighbour, and what one can average over."""

__all__ = []
