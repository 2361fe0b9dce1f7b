"""Settings: their schema, how files and overrides become one configuration, and the options every command shares."""
