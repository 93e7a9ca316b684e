"""Keras 3 on its torch and JAX backends."""
