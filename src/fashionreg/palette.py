"""Colours and lines of all figures."""

#: Okabe and Ito's palette, which readers with any colour vision can distinguish; lines and markers also tell in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
