"""Reads text in pictures: finds its lines, cuts them out and spells them."""
