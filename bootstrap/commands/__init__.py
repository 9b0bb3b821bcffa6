"""The commands of `verger`, each file those about one thing."""
