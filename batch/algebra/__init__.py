"""The numbers of a refit, without tables or workers: moments, labels, axes."""
