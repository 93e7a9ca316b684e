"""Networks that tests and benchmarks explain: small ones trained in seconds, and real ones whose weights ship in packages."""
