"""Pictures of what models do: static ones, and the explorer."""

from lib.viz.basics.draw import fingerprint, overlay, show_images
from lib.viz.basics.heatmaps import draw_glow
from lib.viz.basics.numbers import show_numbers
from lib.viz.explorer.explorer import Explorer, explore, explore_maps
from lib.viz.explorer.feature_pictures import draw_receptive_field, feature_grid, feature_strip, pca_colours

__all__ = [
    "Explorer",
    "draw_glow",
    "draw_receptive_field",
    "explore",
    "explore_maps",
    "feature_grid",
    "feature_strip",
    "fingerprint",
    "overlay",
    "pca_colours",
    "show_images",
    "show_numbers",
]
