"""What runs on a device for ``eprune deploy``: the standard library only. Its text goes there over the connection."""
