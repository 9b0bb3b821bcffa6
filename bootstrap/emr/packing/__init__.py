"""The environment that a cluster runs, packed."""
