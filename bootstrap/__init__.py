"""The `verger` command and what starts with it."""
