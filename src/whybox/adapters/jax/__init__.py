"""JAX: functions, equinox and flax modules."""
