"""Class maps and masks."""
