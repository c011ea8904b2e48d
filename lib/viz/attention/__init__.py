"""Where a network looks: attention over a picture."""
