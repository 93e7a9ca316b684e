"""Anchors: conditions on few features under which a classifier nearly always keeps its prediction."""
