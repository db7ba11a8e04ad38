"""Where weights come from, before anything is prepared from them."""
