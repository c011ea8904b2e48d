"""The exercises of lesson 17, one a file."""
