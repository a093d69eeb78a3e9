"""Makes a bundle from any network: its sources, its graph, a fitted head."""
