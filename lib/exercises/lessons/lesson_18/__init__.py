"""The exercises of lesson 18, one a file."""
