"""The batch leg: refits standardisation and PCA on the full `features` table."""
