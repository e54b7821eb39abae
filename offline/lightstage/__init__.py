"""A synthetic one-light-at-a-time stage."""
