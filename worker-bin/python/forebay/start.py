"""How this process was started, so that it can be started again, whatever an import has changed."""

import contextlib
import os
import signal
import sys


class Start:
    """As things are now."""

    def __init__(self):
        self.program = sys.executable
        with open("/proc/self/cmdline", "rb") as file:
            self.arguments = file.read().split(b"\0")[1:-1]
        self.environment = dict(os.environ)
        self.umask = os.umask(0)
        os.umask(self.umask)
        self.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.ignored = ignored()
        try:
            self.directory = os.open(".", os.O_PATH | os.O_CLOEXEC)
        except OSError:
            # This user may not look for anything there, then or now.
            self.directory = None

    def again(self, variables):
        """In the same process, with these variables besides."""
        # Nobody else will wait for those of the import.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if self.directory is not None:
            os.fchdir(self.directory)
        os.umask(self.umask)
        # All others end with the program.
        for number in ignored() - self.ignored:
            signal.signal(number, signal.SIG_DFL)
        for number in self.ignored - ignored():
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
        arguments = [self.program, *self.arguments]
        os.execve(self.program, arguments, {**self.environment, **variables})

    def close(self):
        """It is not needed any more."""
        if self.directory is not None:
            os.close(self.directory)
            self.directory = None


def ignored():
    numbers = signal.valid_signals()
    return {number for number in numbers if signal.getsignal(number) is signal.SIG_IGN}
