"""From the weights of a bundle to what is served."""
