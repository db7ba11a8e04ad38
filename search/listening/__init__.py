"""Spoken questions from a stream of sound: where each ends, what it says, what it finds."""
