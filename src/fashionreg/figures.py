"""Figures: pure functions from data to a matplotlib `Figure`, without pyplot and its global state."""

from matplotlib.figure import Figure

from fashionreg.data.images import CLASS_NAMES, LabelledImages


def image_grid(data: LabelledImages, rows: int = 4, columns: int = 4) -> Figure:
    """The first `rows * columns` images in reading order, each under its class name; missing ones stay blank."""
    figure = Figure(figsize=(1.5 * columns, 1.7 * rows), layout="constrained")
    for position, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if position < len(data):
            # fixed limits: otherwise every image is stretched to its own darkest and brightest pixel
            axes.imshow(data.images[position].numpy(), cmap="gray", vmin=0, vmax=255)
            axes.set_title(CLASS_NAMES[int(data.labels[position])], fontsize=10)
    return figure
