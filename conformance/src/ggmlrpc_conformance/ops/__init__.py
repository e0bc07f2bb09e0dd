"""Cases of single ops and small graphs: seeded inputs, expected values of the reference ops, limits."""
