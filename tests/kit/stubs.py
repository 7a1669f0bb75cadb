"""What takes the place of others in a test."""


class Silent:
    """A connection that carries nothing."""

    def send(self, end, count):
        pass

    def credit(self, end):
        pass

    def changed(self):
        pass
