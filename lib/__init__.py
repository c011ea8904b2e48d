"""Pixels to Prompts: the reference implementations of the course. One paper, one file."""
