"""The exercises of lesson 16, one a file."""
