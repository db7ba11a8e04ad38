"""What dynamic sparse inference saves and loses."""
