"""Look inside any model: its maps, where they lie on the picture, and what each cell sees.

From a forward pass to the page: `tracing` follows the picture through every operation (`operations`, with the rules of
`windows` and `reshaping`), `arranging` makes maps of what modules give, `activations` collects them, `layers` makes of
them what is sent, and the page draws (`drawing.js`; `store.js`, `controls.js`, `panel.js`, `show.js`, `hands.js`).
`explorer` holds the state in Jupyter, `page` writes a page for itself, `still` and `feature_pictures` draw without one.
"""
