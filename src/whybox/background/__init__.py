"""Which values absent features take."""
