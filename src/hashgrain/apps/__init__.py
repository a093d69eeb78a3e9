"""Small uses of a library: the demo, pages of results, the checkup."""
