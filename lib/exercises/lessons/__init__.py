"""One folder a lesson, one file an exercise."""
