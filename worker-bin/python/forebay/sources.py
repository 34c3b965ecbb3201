"""The files that an application was loaded from, and whether they have changed."""

import os
import sys
import sysconfig


class Sources:
    """All loaded modules, and what else is in the folders of those that are the application's own.

    Without loaded modules: what is below the working directory and `folders`.
    """

    def __init__(self, folders, is_loaded):
        self.trees = [] if is_loaded else [os.curdir, *folders]
        self.seen = self.look()

    def changed(self):
        """A file that is new, changed or gone since the last look; None: there is none."""
        seen, self.seen = self.seen, self.look()
        return next((path for path, _ in seen.items() ^ self.seen.items()), None)

    def look(self):
        """The times of all files."""
        modules = set(filter(None, map(source, list(sys.modules.values()))))
        folders = {os.path.dirname(path) for path in modules if is_own(path)}
        folders |= {folder for tree in self.trees for folder in below(tree)}
        listed = {path for folder in folders for path in python_files(folder)}
        return {path: time for path in modules | listed if (time := modified(path))}


def below(tree):
    """The folder and those in it, but hidden ones, virtual environments and packages of Node.js."""
    for folder, names, _ in os.walk(tree):
        names[:] = [name for name in names if not is_foreign(folder, name)]
        yield folder


def is_foreign(folder, name):
    if name[0] == "." or name == "node_modules":
        return True
    return os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def source(module):
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and path.endswith(".py") else None


def is_own(path):
    return not is_package(path) and not path.startswith(STANDARD_LIBRARY)


def is_package(path):
    """Whether it neither belongs to the application nor comes with Python."""
    return path.startswith(PACKAGES) or not PACKAGE_FOLDERS.isdisjoint(path.split(os.sep))


def python_files(folder):
    try:
        return [entry.path for entry in os.scandir(folder) if entry.name.endswith(".py")]
    except OSError:
        return []


def modified(path):
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


STANDARD_LIBRARY = sysconfig.get_path("stdlib")
# Where this interpreter has packages, and what their folders are called elsewhere: those of a user,
# of a system, or of another environment on PYTHONPATH.
PACKAGES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
PACKAGE_FOLDERS = {"site-packages", "dist-packages"}
