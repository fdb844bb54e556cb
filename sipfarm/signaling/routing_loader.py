"""A provider's own routing policy, named `module:function` in the config."""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import cast

from sipfarm.base.errors import StartError
from sipfarm.signaling.routing import Policy


def load_policy(name: str) -> Policy:
    """Import a policy; StartError says in one sentence why it cannot be used."""
    module_name, colon, function_name = name.partition(":")
    parts = (*module_name.split("."), function_name)
    if not colon or not all(part.isidentifier() for part in parts):
        raise StartError(f'routing "{name}" is not of the form module:function')
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise StartError(f'routing "{name}": there is no module {error.name}') from error
        raise StartError(
            f'routing "{name}": {module_name} needs {error.name}, not found'
        ) from error
    except (ImportError, SyntaxError) as error:
        raise StartError(f'routing "{name}": {module_name} cannot be imported: {error}') from error
    function: object = getattr(module, function_name, None)
    if function is None:
        raise StartError(f'routing "{name}": {module_name} has no {function_name}')
    if not callable(function):
        raise StartError(f'routing "{name}": {function_name} is no function')
    if not _takes_one(function):
        raise StartError(f'routing "{name}": {function_name} must take one argument, the inquiry')
    # Its types cannot be checked here; the router refuses an answer that is no Decision.
    return cast("Policy", function)


def _takes_one(function: Callable[..., object]) -> bool:
    try:
        signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True  # a builtin without a signature; it will be called all the same
    return True
