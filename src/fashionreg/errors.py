"""The one exception that means: the person at the keyboard can put this right."""


class UserError(ValueError):
    """Something a user can cause and correct: a bad file, a bad value, missing data, an interrupted run.

    The message is one line that names the file, field, row or value and says what would be right. The command line
    prints it without a traceback and exits with code 1. It is a `ValueError`, so that library users can catch it as
    the standard exception it refines.
    """
