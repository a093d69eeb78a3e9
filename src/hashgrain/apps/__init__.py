"""Small uses of a library: the demo, the checkup, benchmarks of your own library."""
