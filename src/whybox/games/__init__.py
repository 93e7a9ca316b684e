"""Cooperative games: players, coalitions, indices, exact and estimated values."""
