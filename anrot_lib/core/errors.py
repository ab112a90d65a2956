"""The one error for a user's mistake. By itself, so that the command line can name it without loading torch."""


class UserError(Exception):
    """A mistake that the user can mend: what is wrong, where, and what to do, in one sentence.

    The command line prints it and ends with exit code 2, without a traceback.
    """


class NotFinite(UserError):
    """The loss became NaN or infinite; training stopped, and the best checkpoint so far was kept."""
