"""Surfaces looked at: bodies read part by part, and meshes in space (lesson 13)."""
