"""`python -m fashionreg` is `fashionreg`."""

from fashionreg.cli import command

command()
