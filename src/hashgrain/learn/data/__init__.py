"""What is learned from: labelled pictures, their views and features, and the order in which they are shown."""
