"""How the `photo` model is made: the graph around its pretrained backbone, and the head distilled from it."""
