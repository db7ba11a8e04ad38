"""How well words find pictures, sounds and texts, and what fusing and calibrating gain."""
