"""Adapters whose costs are known, and those that would look faster than they are; each is named by its mistake."""

import mmap

import torch
from torch import Tensor, nn

from torchstone.models import Discrete, Encoder, ExplicitExact, ImplicitIterative, Sampler, Space
from torchstone.models.randomness import generator

__all__ = ["GREY"]

GREY = Space((4, 4), Discrete(17))
EACH_CALL, EACH_EXAMPLE = 1e-2, 1e-3  # seconds


class Costly(nn.Module, ExplicitExact, Sampler, Encoder):
    """Honest: every call takes ten milliseconds, and a millisecond for each example."""

    def __init__(self, clock, *, dtype=torch.float32):
        super().__init__()
        self.space, self.clock, self.calls = GREY, clock, 0
        weight = torch.randn(17, 16, generator=generator(0, "costly"), dtype=torch.float64)
        self.weight = nn.Parameter(weight.to(dtype))
        self.eval()

    def work(self, n):
        """Take the time that ``n`` examples need."""
        self.calls += 1
        self.clock.advance(EACH_CALL + EACH_EXAMPLE * n)

    def log_prob(self, x, y=None):
        self.work(len(x))
        return self.weight.log_softmax(0).gather(0, x.flatten(1)).sum(1)

    def sample(self, n, y=None, *, rng):
        self.work(n)
        return self.drawn(n, rng)

    def drawn(self, n, rng):
        """The samples themselves."""
        return torch.multinomial(self.weight.softmax(0).T, n, True, generator=rng).T.reshape(n, 4, 4)

    def encode(self, x):
        self.work(len(x))
        return x.flatten(1).to(self.weight.dtype) @ self.weight.T[:, :5]


class CompilesFirst(Costly):
    """The first call takes half a minute more."""

    def work(self, n):
        if not self.calls:
            self.clock.advance(30.0)
        super().work(n)


class CompilesEachSize(Costly):
    """The first call for each number of examples takes half a minute more."""

    def __init__(self, clock):
        super().__init__(clock)
        self.known = set()

    def work(self, n):
        if n not in self.known:
            self.clock.advance(30.0)
        self.known.add(n)
        super().work(n)


class CompilesEachCall(Costly):
    """Every call takes a second more."""

    def work(self, n):
        self.clock.advance(1.0)
        super().work(n)


class CachesInputs(Costly):
    """Knows every input that it has seen, and answers it for nothing."""

    def __init__(self, clock):
        super().__init__(clock)
        self.known = {}

    def log_prob(self, x, y=None):
        key = x.numpy().tobytes()
        if key not in self.known:
            self.known[key] = super().log_prob(x)
        return self.known[key]


class CachesSizes(Costly):
    """Answers every question for as many examples with the answer to the first."""

    def __init__(self, clock):
        super().__init__(clock)
        self.known = {}

    def log_prob(self, x, y=None):
        if len(x) not in self.known:
            self.known[len(x)] = super().log_prob(x)
        return self.known[len(x)].clone()


class OneBatch(Costly):
    """Draws once for each number of samples, and gives the same batch ever after."""

    def __init__(self, clock):
        super().__init__(clock)
        self.known = {}

    def drawn(self, n, rng):
        if n not in self.known:
            self.known[n] = super().drawn(n, rng)
        return self.known[n].clone()


class Pool(Costly):
    """Gives out views of samples that were drawn before anybody asked."""

    def __init__(self, clock):
        super().__init__(clock)
        self.pool, self.at = super().drawn(4096, generator(0, "pool")), 0

    def sample(self, n, y=None, *, rng):
        self.at = (self.at + n) % (len(self.pool) - n)
        return self.pool[self.at : self.at + n]


class SmallPool(Costly):
    """Draws from two hundred samples that were drawn before, by the generator that it is given."""

    def __init__(self, clock):
        super().__init__(clock)
        self.pool = super().drawn(200, generator(0, "pool"))

    def drawn(self, n, rng):
        return self.pool[torch.randint(len(self.pool), (n,), generator=rng)]


class Deferred(Costly):
    """Returns at once, and fills what it returned when it is next called."""

    def __init__(self, clock):
        super().__init__(clock)
        self.open = []

    def sample(self, n, y=None, *, rng):
        for empty, size, generators in self.open:
            empty.copy_(self.drawn(size, generators))
        empty = torch.zeros(n, 4, 4, dtype=torch.int64)
        self.open = [(empty, n, rng)]
        return empty


class Promise(Tensor):
    """Is computed when somebody uses it."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        for each in args:
            if isinstance(each, Promise) and each.__dict__.get("compute"):
                compute = each.__dict__.pop("compute")
                with torch._C.DisableTorchFunctionSubclass():
                    each.copy_(compute())
        return super().__torch_function__(func, types, args, kwargs or {})


class Lazy(Costly):
    """Returns a tensor that is computed when it is used, after the clock has stopped."""

    def sample(self, n, y=None, *, rng):
        promise = torch.zeros(n, 4, 4, dtype=torch.int64).as_subclass(Promise)
        promise.__dict__["compute"] = lambda: super(Lazy, self).sample(n, rng=rng)
        return promise


class HalfPrecisionLater(Costly):
    """Computes in bfloat16 once it has been called often enough to be timed."""

    def log_prob(self, x, y=None):
        exact = super().log_prob(x)
        return exact if self.calls < 10 else exact.to(torch.bfloat16).to(exact.dtype)


class OtherWeightsLater(Costly):
    """Draws from other weights once it has been called often enough to be timed."""

    def drawn(self, n, rng):
        weight = self.weight if self.calls < 10 else 0.5 * self.weight
        return torch.multinomial(weight.softmax(0).T, n, True, generator=rng).T.reshape(n, 4, 4)


class SeedlessLater(Costly):
    """Draws without the generator that it is given, and draws noise once it has been called often enough to be timed.

    No two copies of it agree, so that comparing draws tells nothing.
    """

    def drawn(self, n, rng):
        if self.calls < 10:
            return super().drawn(n, None)
        return torch.randint(17, (n, 4, 4))


class BeyondTheMachine(Costly):
    """Does ten times as much arithmetic in a second as the matrix product that is timed beside it, by its own account.

    Its matrices have no values, so that the product of them is counted and never computed.
    """

    WIDTH, TIMES = 4096, 10

    def encode(self, x):
        flops, most = 2 * len(x) * self.WIDTH**2, 2 * 512**3 / 1e-3
        self.clock.advance(max(0.0, flops / (self.TIMES * most) - 1e-3))
        torch.ones(len(x), self.WIDTH, device="meta") @ torch.ones(self.WIDTH, self.WIDTH, device="meta")
        return x.flatten(1).to(self.weight.dtype) @ self.weight.T[:, :5]


class NoFeatures(Costly):
    """Encodes to nothing."""

    def encode(self, x):
        self.work(len(x))
        return torch.zeros(len(x), 0)


class TakesThreads(Costly):
    """Sets the number of threads for the whole process."""

    def work(self, n):
        torch.set_num_threads(3)
        super().work(n)


class HoldsMemory(Costly):
    """Takes 24 MiB in the course of a call for one example, and nothing for more."""

    def work(self, n):
        if n == 1:
            torch.zeros(6, 2**20)
        super().work(n)


class HoldsMemoryElsewhere(Costly):
    """Takes 32 MiB that torch does not know of, straight from the system: an allocator may have as much to spare."""

    def work(self, n):
        with mmap.mmap(-1, 32 * 2**20) as held:
            held[:: mmap.PAGESIZE] = bytes(len(held) // mmap.PAGESIZE)
        super().work(n)


class Wandering(nn.Module, ImplicitIterative):
    """Honest: a random walk whose every step takes a millisecond for each sample."""

    def __init__(self, clock, *, steps=20):
        super().__init__()
        self.space, self.clock, self.steps, self.calls = GREY, clock, steps, 0
        self.network = nn.Identity()
        self.eval()

    def sample(self, n, y=None, *, rng, steps=None):
        self.calls += 1
        x = torch.randint(17, (n, 4, 4), generator=rng)
        for _ in range(self.taken(n, steps or self.steps)):
            self.clock.advance(EACH_EXAMPLE * n)
            x = (self.network(x) + torch.randint(5, x.shape, generator=rng)) % 17
        return x

    def taken(self, n, steps):
        """How many steps are taken."""
        return steps


class FewerStepsLater(Wandering):
    """Takes half of the steps once it has been called often enough to be timed."""

    def taken(self, n, steps):
        return steps if self.calls < 10 else steps // 2


class FewerStepsTogether(Wandering):
    """Takes half of the steps for more than one sample."""

    def taken(self, n, steps):
        return steps if n == 1 else steps // 2


class NoSteps(Wandering):
    """Takes eight steps, whatever it is asked for."""

    def taken(self, n, steps):
        return 8
