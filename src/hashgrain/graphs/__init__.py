"""Changes of ONNX graphs, without torch: heads, smaller and faster models, ensembles.

Import its modules one by one: most need the package `onnx`, which search does not.
"""
