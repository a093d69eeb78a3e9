"""Makes the `photo` model: the graph around its pretrained backbone, and the head distilled from it."""
