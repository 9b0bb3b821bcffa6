"""What both legs stand on: settings, tables, the lake's layout, storage, the Spark session, errors and logs."""
