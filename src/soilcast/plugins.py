"""Plugins: user code that adds to the registries, identified by its hash."""

from __future__ import annotations

import hashlib
import sys
import threading
import traceback
from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeVar, cast

from soilcast.errors import SoilcastError

GROUP = "soilcast.plugins"
"""Entry points of this group name modules of installed packages that are plugins."""

Part = TypeVar("Part")


@dataclass(frozen=True)
class Plugin:
    """Code that adds to the registries.

    Parameters
    ----------
    name
        Of its file; of an installed one the package and its version.
    sha256
        Hash of the file; of an installed one of all Python files of its package.
    parts
        What it registered, such as ``network gru``.
    path
        Of the file; the module of an installed one.
    source
        Content of the file, so that other processes load the very same; None of an installed one.
    """

    name: str
    sha256: str
    parts: tuple[str, ...] = ()
    path: str = field(default="", repr=False)
    source: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256[:12]})"


class Registry(UserDict[str, Part]):
    """Parts that can be chosen by name.

    While a plugin is loaded, a name that is taken is refused; other code replaces it, as in a dictionary.

    Parameters
    ----------
    kind
        Name of its parts, such as ``network``.
    parts
        Those of soilcast, by name; or where each is, ``module:name``, so that it is imported when it is first taken.
    """

    def __init__(self, kind: str, parts: Mapping[str, Part | str]) -> None:
        super().__init__()
        self.kind = kind
        self.origins: dict[str, str] = {}
        # Past `__setitem__`: the import of a plugin may be what imports soilcast's own parts.
        self.data.update(cast(Mapping[str, Part], parts))

    def __getitem__(self, name: str) -> Part:
        part: Any = super().__getitem__(name)
        if isinstance(part, str):
            part = self.data[name] = resolve_name(part)
        return cast(Part, part)

    def __setitem__(self, name: str, part: Part) -> None:
        if _loading:
            self._record(name, *_loading[-1])
        else:
            self.origins.pop(name, None)
        super().__setitem__(name, part)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.origins.pop(name, None)

    def plugin_of(self, name: str) -> Plugin | None:
        """Give the plugin that a part is from; None if it is from none."""
        return _plugins.get(self.origins.get(name, ""))

    def _record(self, name: str, module: str, added: _Added) -> None:
        if name in self.data:
            origin = self.origins.get(name)
            first = "this plugin" if origin == module else str(self.plugin_of(name) or "soilcast, or by the script")
            raise SoilcastError(f"{self.kind} {name} is registered twice, first by {first}: give it another name")
        self.origins[name] = module
        added.append((self, name))


_Added = list[tuple[Registry[Any], str]]

_plugins: dict[str, Plugin] = {}
"""Module of each plugin that is loaded -> the plugin."""

_added: dict[str, _Added] = {}
"""Module of each plugin that is loaded -> what it registered, and where."""

_loading: list[tuple[str, _Added]] = []
"""What is being loaded, the innermost last: its module, and what it has registered so far."""

_lock = threading.RLock()


def load_plugin(path: str | Path) -> Plugin:
    """Run a Python file that registers networks, heads, losses, presets, metrics, baselines or sources.

    The same content is run once in a process, whatever its path; a file that has changed takes the place of what it
    was before.

    Parameters
    ----------
    path
        A Python file. It may import what is installed, but no file beside it.

    Returns
    -------
    The plugin: its name, its hash and what it registered.

    Raises
    ------
    SoilcastError
        There is no such file, it cannot be imported, or it registers a name that is taken.
    """
    path = Path(path)
    if not path.is_file():
        raise SoilcastError(f"plugin {path}: no such file")
    if path.suffix != ".py":
        raise SoilcastError(f"plugin {path}: not a Python file: give one whose name ends in .py")
    load_installed()
    source = path.read_bytes()
    return _load_file(Plugin(path.name, hashlib.sha256(source).hexdigest(), (), str(path.absolute()), source))


def load_installed() -> None:
    """Load the plugins of installed packages, once.

    Raises
    ------
    SoilcastError
        One cannot be imported, or registers a name that is taken.
    """
    if not _loading:  # else a plugin is being loaded, and imports something of soilcast
        with _lock:
            _load_installed()


def loaded_plugins() -> tuple[Plugin, ...]:
    """Give the plugins that are loaded: all that another process needs to have them too (`use_plugins`)."""
    return tuple(_plugins.values())


def use_plugins(plugins: Sequence[Plugin]) -> None:
    """Load the plugins of the process that this one works for, and no other files.

    Raises
    ------
    SoilcastError
        One is installed there and not here, or here in another version.
    """
    with _lock:
        load_installed()
        hashes = {plugin.sha256 for plugin in plugins}
        for module, plugin in list(_plugins.items()):
            if plugin.source is not None and plugin.sha256 not in hashes:
                _unload(module)
        for plugin in plugins:
            if plugin.source is not None:
                _load_file(plugin)
            elif plugin.sha256 not in {other.sha256 for other in _plugins.values()}:
                raise SoilcastError(f"a worker lacks the installed plugin {plugin}: install it there too")


def plugin_record(parts: Iterable[tuple[Registry[Any], str]]) -> list[dict[str, Any]]:
    """Plugins that some parts are from, as stored in artifacts: ``name``, ``sha256`` and ``parts`` of each.

    Parameters
    ----------
    parts
        Registry and name of each part.
    """
    records: dict[str, dict[str, Any]] = {}
    for registry, name in parts:
        plugin = registry.plugin_of(name)
        if plugin is not None:
            record = records.setdefault(plugin.sha256, {"name": plugin.name, "sha256": plugin.sha256, "parts": []})
            record["parts"].append(f"{registry.kind} {name}")
    return list(records.values())


def require_plugins(recorded: object, artifact: str | Path) -> None:
    """Check that the plugins that an artifact was made with are loaded.

    Nothing is loaded here: that an artifact names code is no reason to run it.

    Parameters
    ----------
    recorded
        What `plugin_record` gave, as read from the artifact.
    artifact
        The artifact.

    Raises
    ------
    SoilcastError
        One is not loaded, or another one that has its name or its parts; the record is damaged.
    """
    for required in _parsed(recorded, artifact):
        loaded = _plugins.values()
        if any(plugin.sha256 == required.sha256 for plugin in loaded):
            continue
        origin = f"{artifact}: its {', '.join(required.parts)} came from the plugin {required}"
        same_name = [plugin for plugin in loaded if plugin.name == required.name]
        candidates = same_name or [plugin for plugin in loaded if not {*plugin.parts}.isdisjoint(required.parts)]
        if candidates:
            raise SoilcastError(
                f"{origin}, but {candidates[0]} is loaded, which differs: give the file it was made with"
            )
        if required.name.endswith(".py"):
            raise SoilcastError(
                f"{origin}, which is not loaded: give it as --plugin {required.name}, in Python to soilcast.load_plugin"
            )
        raise SoilcastError(f"{origin}, which is not installed: install it")


class _TextLoader(SourceLoader):
    """Loads a module from its text, and leaves no compiled file beside the user's."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        return self._source


def _load_file(plugin: Plugin) -> Plugin:
    assert plugin.source is not None, "a file"
    module = f"soilcast_plugin_{plugin.sha256[:12]}"
    with _lock:
        if module in _plugins:
            return _plugins[module]
        for other_module, loaded in list(_plugins.items()):
            if loaded.path == plugin.path:
                _unload(other_module)
        loader = _TextLoader(plugin.path, plugin.source)
        spec = spec_from_loader(module, loader)
        assert spec is not None, "of a loader"
        loaded_module = sys.modules[module] = module_from_spec(spec)
        try:
            with _registering(module, f"plugin {plugin.path}", plugin.path):
                loader.exec_module(loaded_module)
        except BaseException:
            del sys.modules[module]
            raise
        return _register(module, plugin)


@cache
def _load_installed() -> None:
    from importlib import metadata  # brings the parsers of e-mail along, for which --help should not wait

    for entry in metadata.entry_points(group=GROUP):
        if entry.module not in _plugins:
            name = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module
            with _registering(entry.module, f"installed plugin {name}", None):
                entry.load()
            _register(entry.module, Plugin(name, _sha256_of_package(entry.module), (), entry.module))


@contextmanager
def _registering(module: str, source: str, file: str | None) -> Iterator[None]:
    """Record what a plugin registers; if it fails all of that is undone, and the fault is one line."""
    added: _Added = []
    _loading.append((module, added))
    try:
        yield
    except BaseException as error:
        for registry, name in added:
            registry.pop(name, None)
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise SoilcastError(f"{source}{_line_of(error, file)}: {_message(error)}") from error
    finally:
        _loading.pop()
    _added[module] = added


def _register(module: str, plugin: Plugin) -> Plugin:
    parts = tuple(f"{registry.kind} {name}" for registry, name in _added[module])
    _plugins[module] = replace(plugin, parts=parts)
    return _plugins[module]


def _unload(module: str) -> None:
    for registry, name in _added.pop(module):
        if registry.origins.get(name) == module:  # else a script has replaced it
            del registry[name]
    del _plugins[module]
    sys.modules.pop(module, None)


def _line_of(error: BaseException, file: str | None) -> str:
    """The line of the file that failed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines = [error.lineno]
    return f", line {lines[-1]}" if lines else ""


def _message(error: BaseException) -> str:
    if isinstance(error, SoilcastError):
        return str(error)
    text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return f"{text}: install it; no file beside the plugin can be imported" if isinstance(error, ImportError) else text


def _sha256_of_package(module: str) -> str:
    """Hash the Python files of the package that a module is in; of the module alone if it is in none."""
    top = sys.modules[module.partition(".")[0]]
    file = Path(str(getattr(top, "__file__", None) or sys.modules[module].__file__))
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(file.parent).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _parsed(recorded: object, artifact: str | Path) -> list[Plugin]:
    plugins = []
    for entry in recorded if isinstance(recorded, list) else [recorded]:
        fields = entry if isinstance(entry, dict) else {}
        name, sha256, parts = (fields.get(key) for key in ("name", "sha256", "parts"))
        texts = [name, sha256, *(parts if isinstance(parts, list) else [None])]
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise SoilcastError(f"{artifact}: its record of plugins is damaged: create it again")
        plugins.append(Plugin(texts[0], texts[1], tuple(texts[2:])))
    return plugins
