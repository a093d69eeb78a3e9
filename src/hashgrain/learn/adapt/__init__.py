"""A model taught your own classes: features computed once and kept, and a head fitted to them in seconds."""
