"""What each layer loses at each bit width: measured, or estimated from gradients."""
