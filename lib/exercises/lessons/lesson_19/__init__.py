"""The exercises of lesson 19, one a file."""
