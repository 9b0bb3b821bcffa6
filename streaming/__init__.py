"""The streaming leg: landed pictures become rows of the `features` table."""
