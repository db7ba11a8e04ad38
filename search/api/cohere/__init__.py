"""The endpoints of Cohere's clients."""
