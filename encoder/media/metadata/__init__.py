"""What photos and films say of themselves: time, camera, place, and what people wrote."""
