"""Finds an application by its name: module:attribute, module:factory(), package.module, file.py."""

import ast
import importlib
import importlib.util
import os
import sys
import traceback


class CannotLoad(Exception):
    """Why, in one line, and the traceback of the application's own error if there is one."""

    def __init__(self, reason, details=""):
        super().__init__(reason, details)


def load(name):
    """The application of this name."""
    place, _, expression = name.partition(":")
    try:
        module = own_errors(name, import_module, place)
    except CannotLoad as error:
        cause = error.__context__
        if isinstance(cause, ModuleNotFoundError) and cause.name == place.partition(".")[0]:
            raise CannotLoad(
                f"there is no module `{cause.name}` in {os.getcwd()} or elsewhere on Python's "
                f"path; --chdir and --pythonpath add to it. Built in are hello, echo, probe"
            ) from None
        raise
    if expression:
        return own_errors(name, evaluate, module, expression)
    for attribute in ("application", "app"):
        if hasattr(module, attribute):
            return callable_or_error(name, getattr(module, attribute))
    raise CannotLoad(f"{name} has neither `application` nor `app`: name it, as {place}:NAME")


def own_errors(name, function, *arguments):
    """What the application raises, SystemExit included, becomes a traceback without our frames."""
    try:
        result = function(*arguments)
    except CannotLoad:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and is_ours(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))
        raise CannotLoad(f"cannot load {name}: {error!r}", text) from None
    return result


def is_ours(file_name):
    ours = (__file__, importlib.__file__, ast.__file__)
    return file_name in ours or file_name.startswith("<frozen importlib")


def import_module(place):
    if not (place.endswith(".py") or os.sep in place):
        return importlib.import_module(place)
    path = os.path.abspath(place)
    name = os.path.splitext(os.path.basename(path))[0]
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise CannotLoad(f"{place} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def evaluate(module, expression):
    """A name, perhaps with dots, perhaps called with literal arguments."""
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise CannotLoad(f"`{expression}` is neither a name nor a call") from None
    call = node if isinstance(node, ast.Call) else None
    found = attribute(module, call.func if call else node, expression)
    if call:
        try:
            arguments = [ast.literal_eval(argument) for argument in call.args]
            keywords = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        except ValueError:
            raise CannotLoad(f"the arguments of `{expression}` are not literals") from None
        found = found(*arguments, **keywords)
    return callable_or_error(f"{module.__name__}:{expression}", found)


def attribute(module, node, expression):
    if isinstance(node, ast.Name):
        owner, name = module, node.id
    elif isinstance(node, ast.Attribute):
        owner, name = attribute(module, node.value, expression), node.attr
    else:
        raise CannotLoad(f"`{expression}` is neither a name nor a call")
    try:
        return getattr(owner, name)
    except AttributeError:
        raise CannotLoad(f"{module.__name__} has no `{name}`") from None


def callable_or_error(name, found):
    if not callable(found):
        raise CannotLoad(f"{name} is not callable but {type(found).__name__}")
    return found
