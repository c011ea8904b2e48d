"""Look inside any model: its maps, where they lie on the picture, and what each cell sees."""
