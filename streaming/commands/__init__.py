"""What commands ask of a lake: requests, executed by the driver that owns it or, where none runs, by the command."""
