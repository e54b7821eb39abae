"""The networks of the paper (4.3) and how their weights are read. The only room of the package that imports torch."""
