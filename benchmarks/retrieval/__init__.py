"""How well words find pictures, sounds and texts, and what ways to fuse and calibrate gain."""
