import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.models.objective import Objective, cross_entropy
from fashionreg.regularizers import SAM

S, B = 2, 6


def test_gradients_are_those_of_the_papers_two_passes_for_each_network():
    network, generator = MLP([5, 4, 3], range(S)).double(), torch.Generator().manual_seed(0)
    images = torch.randn(S, B, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (S, B), generator=generator)
    objective = Objective(network, {"sam": SAM(0.5)}, cross_entropy)
    keys = dict.fromkeys(objective.consumers)
    loss = objective(images, labels, keys).total.sum()
    found = objective.gradients(loss, images, labels, keys)
    for k in range(S):
        plain = network.replica(k)
        own = dict(plain.named_parameters())
        names = list(own)

        def gradient(at, plain=plain, k=k, names=names):
            loss = F.cross_entropy(functional_call(plain, at, (images[k],)), labels[k])
            return dict(zip(names, torch.autograd.grad(loss, [at[name] for name in names]), strict=True))

        first = gradient(own)
        norm = torch.cat([x.flatten() for x in first.values()]).norm()
        expected = gradient({name: (x + 0.5 * first[name] / norm).detach().requires_grad_() for name, x in own.items()})
        for x, other in zip(found.values(), expected.values(), strict=True):
            torch.testing.assert_close(x[k].t(), other)


def test_a_network_without_a_gradient_stays_where_it_is():
    zero = {"w": torch.zeros(1, 3)}
    torch.testing.assert_close(SAM().gradients(lambda at: at, zero, None), zero)


def test_a_negative_distance_is_refused():
    with pytest.raises(UserError, match="sam: rho: must not be negative, got -1"):
        SAM(-1)
