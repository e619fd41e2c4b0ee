"""A clock that only models move, so that what they cost is known."""

from torchstone.suites.timing.clock import Clock

TICK = 1e-3  # seconds


class Ticking(Clock):
    """Stands still but for what models say they took, and a millisecond for each call that is timed."""

    name = "ticking"

    def __init__(self):
        self.now = 0.0

    def advance(self, seconds):
        """Let time pass."""
        self.now += seconds

    def timed(self, call):
        """As in `Clock`."""
        start = self.now
        result = call()
        self.now += TICK
        return result, self.now - start

    def cpu(self):
        """As in `Clock`: the process is always on a processor."""
        return self.now


class Throttled(Ticking):
    """Everything takes longer the more has been timed, as on a machine that gets hot."""

    def __init__(self):
        super().__init__()
        self.heat = 1.0

    def timed(self, call):
        """As in `Clock`."""
        self.heat *= 1.005
        result, seconds = super().timed(call)
        self.now += (self.heat - 1) * seconds
        return result, self.heat * seconds
