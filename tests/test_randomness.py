import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from fashionreg.errors import UserError
from fashionreg.randomness import Key, expand_seeds, fold_in, generator, random_bits, replica_keys


def reference_bits(keys, count):
    """The documented hash, in NumPy's unsigned arithmetic."""

    def mix(x):
        x = x ^ (x >> np.uint32(16))
        x = x * np.uint32(0x7FEB352D)
        x = x ^ (x >> np.uint32(15))
        x = x * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))

    keys = keys.numpy().view(np.uint32)
    return mix(mix(np.arange(count, dtype=np.uint32) ^ keys[:, :1]) + keys[:, 1:])


def test_bits_are_the_documented_hash():
    keys = replica_keys([0, 1, 2**32 - 1], "dropout", epoch=3)
    assert np.array_equal(random_bits(keys, 5000).numpy().view(np.uint32), reference_bits(keys, 5000))


def test_every_byte_of_the_bits_is_uniform():
    numbers = random_bits(replica_keys([5], "dropout"), 200_000).numpy().view(np.uint32)[0]
    for shift in (0, 8, 16, 24):
        counts = np.bincount((numbers >> np.uint32(shift)) & np.uint32(255), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.7, 1.0])
def test_masks_are_true_with_their_probability(probability):
    rates = Key(replica_keys(list(range(8)), "dropout")).bernoulli(probability, 20_000).double().mean(dim=1)
    tolerance = 5 * (probability * (1 - probability) / 20_000) ** 0.5
    assert (rates - probability).abs().max() <= tolerance


def test_masks_of_other_seeds_epochs_steps_and_purposes_are_independent():
    base = replica_keys([0], "dropout")
    keys = [base, replica_keys([1], "dropout"), replica_keys([0], "dropout", 1), replica_keys([0], "noise")]
    keys += [fold_in(base, step) for step in (0, 1, 2, 2**20)]
    masks = [Key(key).bernoulli(0.5, 20_000)[0].double() for key in keys]
    for a, b in itertools.combinations(masks, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / 20_000**0.5


def test_neighbouring_positions_are_independent():
    mask = Key(replica_keys([3], "dropout")).bernoulli(0.5, 20_001)[0].double()
    for lag in (1, 2, 64, 128):
        assert abs(np.corrcoef(mask[:-lag], mask[lag:])[0, 1]) < 5 / 20_000**0.5


def test_replicas_do_not_depend_on_their_neighbours():
    together = random_bits(fold_in(replica_keys([4, 7, 9], "dropout", 2), 11), 100)
    alone = random_bits(fold_in(replica_keys([7], "dropout", 2), 11), 100)
    assert torch.equal(together[1:2], alone)


def test_folding_numbers_in_another_order_gives_another_key():
    keys = replica_keys([0], "dropout")
    assert not torch.equal(fold_in(fold_in(keys, 1), 2), fold_in(fold_in(keys, 2), 1))


def test_folding_never_joins_two_numbers():
    keys = replica_keys([0], "dropout")
    assert len({tuple(fold_in(keys, step)[0].tolist()) for step in range(5000)}) == 5000


@pytest.mark.parametrize(("seed", "purpose", "epoch"), [(1, "init", 0), (0, "order", 0), (0, "init", 1)])
def test_a_generator_depends_on_seed_purpose_and_epoch(seed, purpose, epoch):
    draw = torch.rand(4, generator=generator(0, "init", 0))
    assert torch.equal(draw, torch.rand(4, generator=generator(0, "init", 0)))
    assert not torch.equal(draw, torch.rand(4, generator=generator(seed, purpose, epoch)))


def test_a_count_of_seeds_counts_from_zero_and_a_list_stays():
    assert list(expand_seeds(3)) == [0, 1, 2]
    assert expand_seeds([7, 3]) == [7, 3]


@pytest.mark.parametrize(
    ("seeds", "fault"),
    [
        (0, "a count must be at least 1, got 0"),
        (-2, "a count must be at least 1, got -2"),
        ([], "the list is empty"),
        ([1, 2, 1], "1 is named twice"),
        ([-1], "must be from 0 to 4294967295, got -1"),
        ([2**32], "must be from 0 to 4294967295, got 4294967296"),
    ],
)
def test_seeds_that_mean_nothing_are_named(seeds, fault):
    with pytest.raises(UserError, match=f"seeds: .*{fault}"):
        expand_seeds(seeds)


def test_normal_draws_of_all_bits_are_finite_and_symmetric(monkeypatch):
    # the two ends of the bits, which a fit of millions of draws meets: 0...0 and 1...1
    ends = torch.tensor([[0, -1]], dtype=torch.int32)
    monkeypatch.setattr(Key, "bits", lambda self, *shape: ends)
    low, high = Key(torch.zeros(1, 2, dtype=torch.int32)).normal(2)[0].tolist()
    # scipy's in float64; float32 rounds the probability of the high end exactly, and the result to 7 digits
    assert low == pytest.approx(stats.norm.ppf(2**-24), rel=1e-5)
    assert high == pytest.approx(-low, rel=1e-5)
