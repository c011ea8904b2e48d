"""Drawings of whole systems, and of the course."""
