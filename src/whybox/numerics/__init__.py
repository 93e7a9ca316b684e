"""Numbers only: statistics, interpolation, quadrature."""
