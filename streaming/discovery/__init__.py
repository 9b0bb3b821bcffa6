"""Discovery: how new pictures in a landing zone are found, in folders and buckets, by listing and by notifications."""
