"""The exercises of lesson 15, one a file."""
