"""What a sample is, and how it is had: toyworld, real photos, public data sets."""
