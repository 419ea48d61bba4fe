"""The one exception that is meant for users."""


class SoilcastError(Exception):
    """A fault of the input that the user can mend.

    The message is one line: what is wrong, where (file, variable, key), and the remedy. The command line
    prints it without a traceback and leaves with exit code 2. Anything else that is raised is a defect of
    soilcast and stays loud.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
