"""From the bundle's weights to graphs, networks and gates."""
