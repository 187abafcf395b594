"""Everything that can go wrong and is worth a sentence.

    RetainError              a sentence a person can act on; the command line prints it and exits with 2
    ├── WrongInput           what was given cannot be used: a file, a name, a parameter
    │   ├── NotAWorkspace    the folder is not a retain workspace
    │   ├── WrongParameters  params.yaml, or a value that replaces one of it
    │   └── UnreadableBatch  a delivery that cannot become a batch; it stays where it is
    ├── RejectedBatch        a batch that did not pass validation; carries its report (in experience.py)
    ├── Unavailable          an outside system does not answer, or the disk is full
    ├── UpdateFailed         one of several training processes ended early; what it reached is kept
    ├── Busy                 another night or command is at work on the same workspace
    └── DamagedState         something that retain wrote is missing or changed

A refused verdict is no error: it is a result, and it is kept.
"""


class RetainError(Exception):
    """The base of the tree above. The message is one or two sentences: what is wrong, where, what to do."""


class WrongInput(RetainError):
    """What was given cannot be used."""


class NotAWorkspace(WrongInput):
    """The folder is not a retain workspace."""


class WrongParameters(WrongInput):
    """params.yaml, or a value that replaces one of it, is not as it should be."""


class UnreadableBatch(WrongInput):
    """A delivery that cannot become a batch. Nothing was taken from it."""


class Unavailable(RetainError):
    """An outside system does not answer, or there is no space left."""


class UpdateFailed(RetainError):
    """One of several training processes ended early. Started again, the update goes on from what was reached."""


class Busy(RetainError):
    """Another night or command is at work on the same workspace."""


class DamagedState(RetainError):
    """Something that retain wrote is missing or changed."""
