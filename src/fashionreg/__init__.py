"""fashionreg: which regularizer helps, with evidence."""

__version__ = "0.1.0"
