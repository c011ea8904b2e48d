"""One paper, one file: the systems of the lessons, in the names of their papers and published checkpoints."""
