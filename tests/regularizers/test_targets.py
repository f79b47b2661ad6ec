"""Changed targets: against torch's and torchvision's own, and against calculations by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision.transforms import v2

from fashionreg.errors import UserError
from fashionreg.models.objective import cross_entropy
from fashionreg.randomness import Key, replica_keys
from fashionreg.regularizers import ConfidencePenalty, CutMix, LabelNoise, LabelSmoothing, Mixup, TrainingData
from fashionreg.regularizers.confidence_penalty import entropy
from fashionreg.regularizers.cutmix import cut, paste
from fashionreg.regularizers.mixup import PARTS, at_quantile, beta_quantiles, mix

S, B, K = 3, 40, 10
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (S, B, 28 * 28), generator=GENERATOR, dtype=torch.uint8).float() / 255
LABELS = torch.randint(K, (S, B), generator=GENERATOR)
LOGITS = torch.randn(S, B, K, generator=GENERATOR)
DATA = TrainingData((28, 28), K)
KEY = Key(replica_keys([0, 1, 2], "targets"))


def told(regularizer, data=DATA, seeds=(0, 1, 2)):
    regularizer.attach(None, list(seeds))
    regularizer.attach_data(data)
    return regularizer


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_the_loss_of_smoothed_labels_is_torchs_with_label_smoothing(smoothing):
    images, targets = told(LabelSmoothing(smoothing)).batch(IMAGES, LABELS, KEY)
    assert images is IMAGES
    expected = F.cross_entropy(LOGITS.flatten(0, 1), LABELS.flatten(), label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(cross_entropy(LOGITS, targets), expected.view(S, B))


def test_a_smoothed_probability_is_the_formula_of_the_paper():
    targets = told(LabelSmoothing(0.2), TrainingData((4,), 4)).batch(IMAGES, torch.tensor([[2]]), KEY)[1]
    torch.testing.assert_close(targets, torch.tensor([[[0.05, 0.05, 0.85, 0.05]]]))
    # twice: 0.8 * 0.05 + 0.05 and 0.8 * 0.85 + 0.05
    twice = told(LabelSmoothing(0.2), TrainingData((4,), 4)).batch(IMAGES, targets, KEY)[1]
    torch.testing.assert_close(twice, torch.tensor([[[0.09, 0.09, 0.73, 0.09]]]))


def test_a_mixture_is_that_of_torchvision():
    shares = torch.tensor([0.3, 0.9, 0.5])
    one_hot = F.one_hot(LABELS, K).float()
    images, targets = mix(IMAGES, shares), mix(one_hot, shares)
    for k, share in enumerate(shares.tolist()):
        # the images as torchvision sees them, one channel each
        transform, pictures, labels = v2.MixUp(num_classes=K), IMAGES[k].view(B, 1, 28, 28), LABELS[k]
        params = {"labels": labels, "batch_size": B, "lam": share}
        torch.testing.assert_close(images[k].view(B, 1, 28, 28), transform.transform(pictures, params))
        torch.testing.assert_close(targets[k], transform.transform(labels, params))


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 5.0])
def test_the_share_of_a_mixture_has_a_beta_distribution(alpha):
    draws = at_quantile(beta_quantiles(alpha), Key(replica_keys([3], "share")).uniform(40_000)[0]).numpy()
    # in float32 as well, which has no numbers between 1 - 2**-24 and 1
    theirs = stats.beta(alpha, alpha).rvs(draws.size, random_state=0).astype(np.float32)
    # two fair samples exceed the first term once in a million; the second is what interpolation may add
    bound = stats.kstwobign.isf(1e-6) * math.sqrt(2 / draws.size) + 1 / PARTS
    assert stats.ks_2samp(draws, theirs).statistic < bound


def test_mixup_mixes_images_and_labels_by_the_same_share_in_each_replica():
    images, targets = told(Mixup(1.0)).batch(IMAGES, LABELS, KEY)
    shares = ((images - IMAGES.roll(1, 1)) / (IMAGES - IMAGES.roll(1, 1))).nanmedian(dim=2).values.median(dim=1).values
    assert len(shares.unique()) == S
    torch.testing.assert_close(images, mix(IMAGES, shares), rtol=0, atol=1e-4)
    torch.testing.assert_close(targets, mix(F.one_hot(LABELS, K).float(), shares), rtol=0, atol=1e-4)
    torch.testing.assert_close(targets.sum(dim=2), torch.ones(S, B))


def torchvisions_box(share, row, column):
    """The rectangle as v2.CutMix computes it, with its two random numbers given."""
    radius = 0.5 * math.sqrt(1 - share)
    half_height, half_width = int(radius * 28), int(radius * 28)
    x1, x2 = max(column - half_width, 0), min(column + half_width, 28)
    y1, y2 = max(row - half_height, 0), min(row + half_height, 28)
    return x1, y1, x2, y2


def test_a_pasted_rectangle_is_that_of_torchvision():
    for share, row, column in ((0.2, 3, 20), (0.75, 14, 14), (0.99, 0, 27), (0.0, 10, 10), (1.0, 5, 5)):
        x1, y1, x2, y2 = torchvisions_box(share, row, column)
        own = torch.full((S,), share), torch.full((S,), row), torch.full((S,), column)
        inside = cut(*own, 28, 28)
        kept = 1 - (x2 - x1) * (y2 - y1) / 28**2
        torch.testing.assert_close(1 - inside.float().mean(dim=(1, 2)), torch.full((S,), kept))
        params = {"labels": LABELS[1], "batch_size": B, "box": (x1, y1, x2, y2), "lam_adjusted": kept}
        pictures = IMAGES.view(S, B, 1, 28, 28)
        expected = v2.CutMix(num_classes=K).transform(pictures[1], params)
        assert torch.equal(paste(pictures, inside)[1], expected)


def test_cutmix_mixes_labels_by_the_area_that_it_pastes_and_spares_a_share_of_the_batches():
    cutmix, changed, columns = told(CutMix(1.0, p=0.5)), 0, []
    for step in range(200):
        images, targets = cutmix.batch(IMAGES, LABELS, KEY.fold_in(step))
        differs = IMAGES.roll(1, 1) != IMAGES
        pasted = (images != IMAGES).sum(dim=2) / differs.sum(dim=2)  # of the pixels that can differ
        kept = 1 - pasted.mean(dim=1)
        expected = mix(F.one_hot(LABELS, K).float(), kept)
        # a share of some 780 pixels that differ, and of 784 that are pasted
        torch.testing.assert_close(targets, expected, rtol=0, atol=0.02)
        changed += (kept < 1).sum().item()
        columns += [kept[kept < 1]]
    # five standard errors of 600 draws; a rectangle of less than two pixels has no area
    assert abs(changed / 600 - 0.5) < 5 * math.sqrt(0.25 / 600) + 0.01
    assert torch.cat(columns).unique().numel() > 50


def test_nothing_is_pasted_with_p_0():
    images, targets = told(CutMix(p=0.0)).batch(IMAGES, LABELS, KEY)
    assert torch.equal(images, IMAGES)
    assert torch.equal(targets, F.one_hot(LABELS, K).float())


def test_the_entropy_is_that_of_scipy():
    expected = stats.entropy(LOGITS.softmax(-1).double().numpy(), axis=-1)
    np.testing.assert_allclose(entropy(LOGITS).numpy(), expected, rtol=1e-5)


def test_the_confidence_penalty_is_strength_times_the_mean_negative_entropy():
    expected = -0.3 * stats.entropy(LOGITS.softmax(-1).double().numpy(), axis=-1).mean(axis=1)
    np.testing.assert_allclose(ConfidencePenalty(0.3).loss_term(LOGITS, LABELS).numpy(), expected, rtol=1e-5)


def test_the_confidence_penalty_is_the_divergence_from_the_uniform_distribution_in_nats():
    # KL(p || u) = log K - H(p), section 3.1 of the paper
    predicted = LOGITS.log_softmax(-1)
    uniform = torch.full_like(predicted, -math.log(K))
    divergence = F.kl_div(uniform, predicted, reduction="none", log_target=True).sum(-1).mean(1)
    torch.testing.assert_close(ConfidencePenalty(1.0).loss_term(LOGITS, LABELS), divergence - math.log(K))


def many(count=20_000):
    images = torch.randint(0, 256, (count, 9), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return (images.float() / 255).expand(S, count, 9), (torch.arange(count) % K).expand(S, count)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_share_p_of_the_labels_is_wrong_and_all_wrong_ones_are_equally_likely(fixed):
    images, labels = many()
    noise = told(LabelNoise(0.3, fixed=fixed), TrainingData((9,), K))
    shown, noisy = noise.batch(images, labels, KEY)
    assert shown is images
    assert noisy.dtype == torch.int64
    shares = (noisy != labels).double().mean(dim=1)
    # five standard errors of a share of 20,000 images
    assert abs(shares - 0.3).max() < 5 * math.sqrt(0.3 * 0.7 / 20_000)
    steps = ((noisy - labels) % K)[noisy != labels]
    counts = torch.bincount(steps, minlength=K)[1:].numpy()
    assert counts.size == K - 1
    assert stats.chisquare(counts).pvalue > 1e-6
    # seeds have their own
    assert abs((noisy[0] != noisy[1]).double().mean() - (2 * 0.3 * 0.7 + 0.3**2 * 8 / 9)) < 0.02


def test_an_image_keeps_its_label_wherever_and_whenever_it_is_seen():
    images, labels = many()
    noise = told(LabelNoise(0.3), TrainingData((9,), K))
    _, noisy = noise.batch(images, labels, KEY)
    order = torch.randperm(images.shape[1], generator=torch.Generator().manual_seed(2))
    _, again = noise.batch(images[:, order], labels[:, order], KEY.fold_in(1))
    assert torch.equal(again, noisy[:, order])
    # normalized, and computed in another way: the same pixels
    normalized = (images.double() - 0.286).div(0.353).float()
    data = TrainingData((9,), K, black=-0.286 / 0.353, white=(1 - 0.286) / 0.353)
    assert torch.equal(told(LabelNoise(0.3), data).batch(normalized, labels, KEY)[1], noisy)
    # otherwise it is drawn in every step
    fresh = told(LabelNoise(0.3, fixed=False), TrainingData((9,), K))
    assert not torch.equal(fresh.batch(images, labels, KEY)[1], fresh.batch(images, labels, KEY.fold_in(1))[1])


def test_one_seed_alone_has_the_wrong_labels_that_it_has_among_others():
    images, labels = many(500)
    _, together = told(LabelNoise(0.5), TrainingData((9,), K)).batch(images, labels, KEY)
    _, alone = told(LabelNoise(0.5), TrainingData((9,), K), [1]).batch(images[:1], labels[:1], Key(KEY.words[1:2]))
    assert torch.equal(alone[0], together[1])


def test_probabilities_move_with_their_classes():
    images, labels = many(500)
    data = TrainingData((9,), K)
    _, noisy = told(LabelNoise(0.5), data).batch(images, labels, KEY)
    smoothed = told(LabelSmoothing(0.1), data).batch(images, labels, KEY)[1]
    moved = told(LabelNoise(0.5), data).batch(images, smoothed, KEY)[1]
    assert torch.equal(moved, told(LabelSmoothing(0.1), data).batch(images, noisy, KEY)[1])


def test_a_single_class_has_no_wrong_label():
    with pytest.raises(UserError, match="needs at least two classes; the data have one"):
        told(LabelNoise(), TrainingData((9,), 1))


def test_wrong_labels_are_trained_on_and_not_tested_on(run):
    import pandas as pd

    options = ["--config", "tiny.yaml", "--seeds", 2, "--model.init_args.optimizer.lr", 0, "--trainer.max_epochs", 1]
    accuracies = []
    for p in (0.0, 1.0):
        noise = f"{{noise: {{class_path: LabelNoise, init_args: {{p: {p}}}}}}}"
        assert run("fit", *options, "--model.init_args.regularizers", noise, "--name", f"p{p:.0f}")[0] == 0
        record = pd.read_csv(f"logs/p{p:.0f}/version_0/record.csv").query("metric == 'acc'")
        accuracies.append(record.set_index(["split", "seed"]).value)
    right, wrong = accuracies
    assert right["test"].equals(wrong["test"])
    assert (right["train"] != wrong["train"]).all()


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: LabelSmoothing(1.5), "label_smoothing: smoothing: must be from 0 to 1, got 1.5"),
        (lambda: Mixup(0.0), "mixup: alpha: must be above 0 and finite, got 0.0"),
        (lambda: CutMix(alpha=-1), "cutmix: alpha: must be above 0 and finite, got -1"),
        (lambda: CutMix(p=2), "cutmix: p: must be from 0 to 1, got 2"),
        (lambda: ConfidencePenalty(-1), "confidence_penalty: strength: must be at least 0 and finite, got -1"),
        (lambda: LabelNoise(float("nan")), "label_noise: p: must be from 0 to 1, got nan"),
    ],
)
def test_a_value_out_of_range_is_refused(make, fault):
    with pytest.raises(UserError, match=f"^{fault}$"):
        make()
