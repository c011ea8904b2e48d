"""Pure functions without parameters: boxes, anchors, receptive fields, losses, metrics."""
