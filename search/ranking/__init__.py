"""From candidates to hits: fusion, grouping, diversity, explanations."""
