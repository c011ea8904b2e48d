"""Pictures of what models do: static ones, and the explorer. Which function draws what, and where it stands:

basics
    draw: `show_images`, `overlay`, `fingerprint`: pictures side by side, a map over a picture, numbers in short
    heatmaps: `draw_glow`    numbers: `show_numbers`    sliding: `draw_sliding`    stamps: `explore_stamps`
explorer
    explorer: `explore`, `Explorer`: every layer of a model, to be clicked through
    feature_pictures: `feature_grid`, `feature_strip`, `pca_colours`, `draw_receptive_field`
detection
    detections: `draw_boxes`, `draw_detections`, `draw_proposals`, `draw_matches`, `draw_anchors`
    anchors: `explore_anchors`    roi_grid: `draw_roi_grid`    suppression: `draw_suppression`, `explore_nms`
    overlap: `draw_overlap`, `draw_on_pixels`, `draw_box_paths`, `draw_landscapes`, `draw_apart`
    curves: `draw_precision_recall`, `draw_recall_curve`, `draw_speed_accuracy`
    grid: `draw_cells`, `draw_learning`, `draw_pair`, `draw_sizes`    grid_explorer: `explore_grid`
    film: `film_detections`    pyramid: `draw_pyramid`, `draw_levels`, `draw_size_levels`, `draw_anchor_sizes`
    focal: `draw_loss_of_places`, `draw_cumulative`, `draw_focal_curves`, `draw_runs`
    focal_explorer: `explore_focal`    matching: `draw_matching`
attention
    explorer: `explore_attention`: where a place of a photo or a query looks
    maps: `draw_attention`, `draw_positions`    queries: `draw_queries`
masks
    segmentation: `draw_segmentations`, `draw_regions`, `draw_confusion`
clips
    strip: `draw_clip`    player: `play_clip`    depths: `draw_depths`    gates: `draw_gates`
    similarity: `draw_similarity`, `crop_segment`    cloud: `draw_query_cloud`
prompts
    clicker: `Clicker`    still: `draw_prompts`, `draw_nested`, `draw_iou_by_clicks`
    looks: `draw_place_codes`, `draw_click_attention`, `draw_masked_patches`
words
    answers: `draw_phrases`, `draw_pairs`, `draw_labels_judged`    asker: `Asker`    hidden: `draw_sub_sentences`
    looks: `draw_word_looks`, `draw_word_fits`    refined: `draw_refined`
diagrams
    course_map: `draw_course_map`    fcn_plan: `draw_fcn_plan`    u_diagram: `draw_u`
    system: `draw_system`, the whole of a detector    rcnn_family, yolo_plan, retinanet_plan,
    mask_rcnn_plan, new_heads_plan, detr_plan, maskformer_plan, uni_dvps_plan, sam_plan,
    grounded_sam_plan: its stages, model by model
"""

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
