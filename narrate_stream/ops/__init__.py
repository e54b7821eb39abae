"""Pure functions: time, randomness and device are parameters."""
