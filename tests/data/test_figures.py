import numpy as np
import torch

from fashionreg.data import figures
from fashionreg.data.images import CLASS_NAMES, LabelledImages


def some_images(count):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(100, 200, (count, 28, 28), generator=generator, dtype=torch.uint8)
    return LabelledImages(images, torch.arange(count) % 10, CLASS_NAMES)


def test_grid_shows_the_first_images_in_reading_order_under_their_class_names():
    data = some_images(20)
    axes = figures.image_grid(data).axes
    assert [ax.get_title() for ax in axes] == [CLASS_NAMES[label % 10] for label in range(16)]
    for ax, image in zip(axes, data.images, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), image.numpy())


def test_grid_shows_equal_pixels_as_equal_grey_in_every_image():
    assert {ax.images[0].get_clim() for ax in figures.image_grid(some_images(16)).axes} == {(0, 255)}


def test_grid_has_no_ticks():
    assert not any(ax.axison for ax in figures.image_grid(some_images(16)).axes)


def test_grid_of_fewer_images_than_cells_leaves_the_rest_blank():
    axes = figures.image_grid(some_images(4), rows=2, columns=3).axes
    assert len(axes) == 6
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 1, 0, 0]
    assert [ax.get_title() for ax in axes[4:]] == ["", ""]


def test_grid_of_one_cell_is_one_image():
    (ax,) = figures.image_grid(some_images(3), rows=1, columns=1).axes
    assert ax.get_title() == "T-shirt/top"


def test_mistakes_show_the_true_and_the_predicted_class():
    data = some_images(3)
    figure = figures.worst_mistakes(data, np.array([6, 8, 0]), np.array([0.9999, 0.75, 0.5]))
    arrow = "\N{RIGHTWARDS ARROW}"
    assert [ax.get_title() for ax in figure.axes[:4]] == [
        f"T-shirt/top\n{arrow} Shirt (>99.9%)",
        f"Trouser\n{arrow} Bag (75.0%)",
        f"Pullover\n{arrow} T-shirt/top (50.0%)",
        "",
    ]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), data.images[1].numpy())


def test_a_figure_without_mistakes_says_so():
    figure = figures.worst_mistakes(some_images(0), np.zeros(0, int), np.zeros(0))
    assert figure.get_suptitle() == "No mistakes"
