"""Pictures of what models do: static ones, and the explorer."""

from lib.viz.draw import fingerprint, overlay, show_images
from lib.viz.explore import Explorer, explore
from lib.viz.feature_pictures import draw_receptive_field, feature_grid, feature_strip, pca_colours
from lib.viz.heatmaps import draw_glow
from lib.viz.numbers import show_numbers

__all__ = [
    "Explorer",
    "draw_glow",
    "draw_receptive_field",
    "explore",
    "feature_grid",
    "feature_strip",
    "fingerprint",
    "overlay",
    "pca_colours",
    "show_images",
    "show_numbers",
]
