"""From a hub model's weights to graphs, checked against the model."""
