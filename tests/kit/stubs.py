"""What takes the place of others in a test."""


class Silent:
    """A connection that carries nothing."""

    gathers = False

    def send(self, end, count, follows=False):
        pass

    def credit(self, end):
        pass

    def changed(self):
        pass
