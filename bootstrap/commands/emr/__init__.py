"""`verger emr`: the commands for Amazon EMR."""
