"""Names, types and checks of every configuration key. Values live in conf/*.yaml; nothing here imports torch."""
