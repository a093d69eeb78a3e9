"""Surgery on ONNX graphs, without torch: heads, smaller and faster models, several models as one.

Its modules are imported one by one, since most need the package `onnx`, which searching does without.
"""
