"""Verger on Amazon EMR: what is packed, what is deployed, what is submitted, and what it costs."""
