"""A teacher scores the answers of preference pairs; its scores become the examples that warm a student up."""
