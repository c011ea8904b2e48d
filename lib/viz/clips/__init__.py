"""Clips: segments that keep their colour, depth, and what tracking compares."""
