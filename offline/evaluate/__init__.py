"""The paper's measurements: normals and relighting against real one-light photographs, views against known heads."""
