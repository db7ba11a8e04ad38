"""What the API keeps of those who may ask."""
