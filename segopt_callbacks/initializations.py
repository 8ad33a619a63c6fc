"""The initialisations of clustering that can be chosen by name."""
def validate_initialization(v): return v
