"""Which rows of the features count, what changed between two versions, and reading them."""
