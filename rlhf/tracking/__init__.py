"""What a run leaves behind: directory, status, metrics, samples; and what a person sees meanwhile. Imports no torch."""
