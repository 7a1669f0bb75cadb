"""Models in TFLite's flatbuffers: read, cut into slices, and what their operators cost."""
