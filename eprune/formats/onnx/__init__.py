"""Models as ONNX files: read, cut, and written."""
