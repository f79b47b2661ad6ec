"""Colours and lines of all figures."""

#: Okabe and Ito's palette: told apart by readers of every colour vision, and in grey by lines and markers beside it.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
