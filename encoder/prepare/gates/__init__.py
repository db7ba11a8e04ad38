"""Gates of text networks: fitted to a model, timed, remembered."""
