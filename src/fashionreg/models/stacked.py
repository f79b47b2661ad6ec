"""Train any network that is written for one seed for S seeds side by side."""

import copy
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn.modules.lazy import LazyModuleMixin

from fashionreg.errors import UserError
from fashionreg.models.networks import Keys, ReplicaNetwork
from fashionreg.randomness import generator

#: Makes one plain network from its number of inputs and of classes: from float `(B, D)` to logits float `(B, K)`.
NetworkCallable = Callable[[int, int], nn.Module]


class StackedNetwork(ReplicaNetwork):
    """S plain networks, built one after the other, whose parameters are stacked and which run under `torch.vmap`.

    It is slower than layers that are written for a replica axis, but works for every network that `torch.vmap` takes.

    Args:
        make: Makes one plain network.
        inputs: Number of inputs D.
        classes: Number of classes K.
        seeds: The S seeds; seed k alone fixes the initial parameters of replica k.

    Raises:
        UserError: If the networks draw random numbers in training, hold tensors that are neither parameters nor
            buffers, or cannot run side by side.
    """

    def __init__(self, make: NetworkCallable, inputs: int, classes: int, seeds: Sequence[int]) -> None:
        super().__init__()
        networks = [_made_with(seed, make, inputs, classes) for seed in seeds]
        parameters, buffers = stack_module_state(networks)
        #: The computation: a plain network whose own parameters are never used. Not a submodule, as it has no state.
        self.plain: nn.Module
        self.__dict__["plain"] = copy.deepcopy(networks[0])
        #: Holds the stacked parameters and buffers, `(S, ...)`, under the names of the plain network.
        self.stacked = copy.deepcopy(networks[0])
        for name, value in {**parameters, **buffers}.items():
            owner = self.stacked.get_submodule(name.rpartition(".")[0])
            # what the user has frozen stays frozen
            stacked = nn.Parameter(value.detach(), value.requires_grad) if name in parameters else value.clone()
            setattr(owner, name.rpartition(".")[2], stacked)
        logits = self._tried(torch.zeros(2, inputs))
        if logits.shape != (len(seeds), 2, classes):
            raise UserError(
                f"network: must give {classes} logits for each image, shape (2, {classes}) for two images of "
                f"{inputs} inputs; got {tuple(logits.shape[1:])}"
            )
        if not logits.is_meta:
            self._check_state(networks, torch.rand(2, inputs, generator=generator(0, "check")))

    @torch.no_grad()
    def _tried(self, images: Tensor) -> Tensor:
        """Run a training step's forward pass, and put back the buffers that it changes."""
        before = {name: buffer.clone() for name, buffer in self.stacked.named_buffers()}
        try:
            logits: Tensor = self(images)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"network: cannot run side by side: {' '.join(str(error).split())}") from error
        finally:
            for name, buffer in self.stacked.named_buffers():
                buffer.copy_(before[name])
        return logits

    @torch.no_grad()
    def _check_state(self, networks: list[nn.Module], images: Tensor) -> None:
        """Refuse networks with tensors that are neither parameters nor buffers: these cannot be stacked."""
        self.eval()
        together = self(images)
        for index in {0, len(networks) - 1}:
            alone = networks[index].eval()(images)
            # the same sums in float32, in another order
            if not torch.allclose(together[index], alone, rtol=1e-3, atol=1e-4, equal_nan=True):
                raise UserError(
                    "network: computes something else beside other seeds than alone; register every tensor of it as a "
                    "parameter or with register_buffer, and keep layers in nn.ModuleList, not in a list"
                )
        self.train()

    def forward(self, images: Tensor, keys: Keys | None = None) -> Tensor:
        """Compute the logits, float `(S, B, K)`; see `ReplicaNetwork.forward`.

        Raises:
            UserError: If the plain network draws random numbers.
        """
        self.plain.train(self.training)
        state = dict(self.stacked.named_parameters()) | dict(self.stacked.named_buffers())

        def alone(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.plain, tensors, (x,))
            return logits

        # each replica has a slice of every tensor, and of the images where these have a replica axis: (S, B, D)
        along = (0, 0 if images.dim() == 3 else None)
        try:
            return torch.vmap(alone, in_dims=along, randomness="error")(state, images)
        except RuntimeError as error:
            if "random" not in str(error):
                raise
            raise UserError(
                "network: draws random numbers in training (nn.Dropout, perhaps), which do not follow the seeds; "
                "leave that to a regularizer"
            ) from error

    @torch.no_grad()
    def replica(self, index: int) -> nn.Module:
        """Return replica `index` as the plain network that the user wrote, with copied parameters."""
        plain: nn.Module = copy.deepcopy(self.plain).cpu()
        stacked = dict(self.stacked.named_parameters()) | dict(self.stacked.named_buffers())
        # not by the state dict, which leaves out buffers that are not persistent
        for name, value in (*plain.named_parameters(), *plain.named_buffers()):
            value.data = stacked[name][index].detach().cpu().clone()
        return plain.train(self.training)

    def pre_activations(self, images: Tensor) -> dict[str, Tensor]:
        """Refuse: a plain network does not say where its activations are."""
        raise _not_observed(self)

    def hidden_weights(self) -> dict[str, nn.Parameter]:
        """Refuse: a plain network does not say where its hidden layers are."""
        raise _not_observed(self)

    def describe(self) -> str:
        """Return the name of the plain network's class."""
        return type(self.stacked).__name__


def _not_observed(network: StackedNetwork) -> UserError:
    return UserError(
        f"{network.describe()}: a stacked network does not show its activations; leave out ActivationDrift and "
        "Histograms, or write a ReplicaNetwork (docs/extend.md)"
    )


def _made_with(seed: int, make: NetworkCallable, inputs: int, classes: int) -> nn.Module:
    """Make a plain network whose initial parameters depend only on its seed.

    Raises:
        UserError: If it cannot be made, is no module, or has parameters without a shape or in two places.
    """
    with torch.random.fork_rng(devices=[]):
        # initial parameters come from torch's global generator, as everywhere in torch.nn
        torch.manual_seed(generator(seed, "init").initial_seed())
        try:
            network = make(inputs, classes)
        except (UserError, MemoryError):
            raise
        except Exception as error:
            if taken := re.match(r"(?:.*\.)?(\w+)\.__init__\(\) takes ", str(error)):
                raise UserError(f"network: {taken[1]} must take the number of inputs and of classes") from error
            raise UserError(f"network: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"network: must make a torch.nn.Module, got {type(network).__name__}")
    lazy = [name for name, module in network.named_modules() if isinstance(module, LazyModuleMixin)]
    if lazy:
        kind = type(network.get_submodule(lazy[0])).__name__
        raise UserError(
            f"network: {kind}{f' ({lazy[0]})' if lazy[0] else ''} gets its shape from the first batch, and cannot be "
            "stacked; use the layer with its number of inputs"
        )
    if len(list(network.named_parameters())) < len(list(network.named_parameters(remove_duplicate=False))):
        raise UserError("network: two of its layers share a parameter, which cannot be stacked")
    return network
