from functools import partial

import pytest
import torch
from torch import optim

from fashionreg.errors import UserError
from fashionreg.models.optimizers import check_replica_wise


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        partial(optim.Adam, lr=0.1, amsgrad=True),
        partial(optim.AdamW, lr=0.1),
        partial(optim.RMSprop, lr=0.1),
        partial(optim.Adagrad, lr=0.1),
        partial(optim.NAdam, lr=0.1),
    ],
)
def test_optimizers_that_act_element_by_element_pass(optimizer):
    check_replica_wise(optimizer)


@pytest.mark.parametrize("optimizer", [optim.LBFGS, optim.Adafactor, optim.Muon])
def test_optimizers_that_look_beyond_an_element_are_refused(optimizer):
    with pytest.raises(UserError, match="optimizer: .*use one seed"):
        check_replica_wise(partial(optimizer, lr=0.1))


def test_an_optimizer_of_ones_own_that_clips_by_the_norm_of_all_is_refused():
    class Clipped(optim.SGD):
        def step(self, closure=None):
            torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
            return super().step(closure)

    with pytest.raises(UserError, match="Clipped mixes the seeds"):
        check_replica_wise(partial(Clipped, lr=0.1))
