"""Training data: labelled pictures, their augmented views, their features, and the sampling of batches."""
