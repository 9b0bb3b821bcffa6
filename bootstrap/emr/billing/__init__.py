"""What a month on EMR costs, from dated prices."""
