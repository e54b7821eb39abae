"""Training of F_N, F_A and F_R on the light stage's shards: `python -m offline.train normals|albedo|relight`."""
