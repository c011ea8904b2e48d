"""Boxes, anchors, proposals, matches and the curves of detection."""
