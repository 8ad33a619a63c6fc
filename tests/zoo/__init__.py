"""Public architectures with random weights, compressed and exported: see run.py."""
