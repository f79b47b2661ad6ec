import numpy as np

from fashionreg.runs import figures


def test_class_accuracy_shows_the_mean_as_a_bar_and_every_seed_as_a_dot():
    accuracy = np.array([[0.5, 1.0, np.nan], [0.7, 0.9, np.nan]])
    (ax,) = figures.class_accuracy(accuracy, "abc").axes
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [60, 95, 0])
    dots = ax.collections[0].get_offsets()
    np.testing.assert_allclose(np.sort(dots[:, 0].compressed()), [50, 70, 90, 100])
    assert [text.get_text() for text in ax.texts] == ["60.0", "95.0", "no images"]
    (one,) = figures.class_accuracy(accuracy[:1], "abc").axes
    assert not one.collections


def test_reliability_gives_the_mean_distance_of_confidence_and_accuracy():
    counts = np.array([0, 10, 30])
    figure = figures.reliability_diagram(counts, np.array([0, 0.5, 0.9]), np.array([0, 0.7, 0.8]))
    above, below = figure.axes
    assert above.get_title() == "Expected calibration error: 12.50%"  # (10 * 0.2 + 30 * 0.1) / 40
    np.testing.assert_allclose([bar.get_height() for bar in above.patches], [70, 80])
    np.testing.assert_allclose([bar.get_height() for bar in below.patches], [0, 25, 75])
