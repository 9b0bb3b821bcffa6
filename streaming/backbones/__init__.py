"""Backbones: declared, compiled once with Keras, kept on the shelf and run by the workers."""
