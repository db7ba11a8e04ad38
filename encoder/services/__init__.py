"""What a model can do besides embedding: read text in images, write down speech."""
