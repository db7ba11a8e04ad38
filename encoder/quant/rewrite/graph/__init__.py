"""An exported network as a graph: its nodes, constants, shapes and linear layers."""
