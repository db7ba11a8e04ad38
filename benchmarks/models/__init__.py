"""Hub models at their published sizes, with random weights: through torch and as graphs."""
