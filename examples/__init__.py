"""Programs to read and run, each a few dozen lines; `tests/scenarios` runs every one of them."""
