"""What workers do in a refit, and how it is dealt out to them."""
