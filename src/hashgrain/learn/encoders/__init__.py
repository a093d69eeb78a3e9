"""Any network as a model of ours: where it comes from, what is taken of it, and the bundle that is made of it."""
