"""Prompts and what a model answers: to click oneself, and as still pictures."""
