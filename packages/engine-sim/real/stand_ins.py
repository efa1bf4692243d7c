"""Import hook: stands in for every heavy module that the cache classes import and never call.

torch, transformers and the like are imported at the top of vLLM's and SGLang's modules, for type
annotations and for paths that need a GPU. A name of such a module becomes a class that accepts any
attribute, call, subscript and `|`. Modules that are installed are imported as they are; the
engine's own modules are never replaced.
"""

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import types


class _Meta(type):
    def __getattr__(cls, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        made = _stand_in(f"{cls.__name__}.{name}")
        setattr(cls, name, made)
        return made

    def __getitem__(cls, key):
        return cls

    def __or__(cls, other):
        return cls

    def __ror__(cls, other):
        return cls

    def __iter__(cls):
        return iter(())

    def __len__(cls):
        return 0

    def __instancecheck__(cls, instance):
        return False

    def __lt__(cls, other):
        return False

    def __gt__(cls, other):
        return False

    def __le__(cls, other):
        return False

    def __ge__(cls, other):
        return False

    def __int__(cls):
        return 0

    def __index__(cls):
        return 0


def _stand_in(name):
    def new(cls, *args, **kwargs):
        # A decorator's stand-in returns what it decorates.
        if len(args) == 1 and not kwargs and callable(args[0]):
            return args[0]
        return object.__new__(cls)

    def instance_attribute(self, attribute):
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        return _stand_in(attribute)

    body = {
        "__new__": new,
        "__init__": lambda self, *args, **kwargs: None,
        "__init_subclass__": classmethod(lambda cls, **kwargs: None),
        "__getattr__": instance_attribute,
        "__call__": lambda self, *args, **kwargs: args[0] if len(args) == 1 and callable(args[0]) else None,
        "__enter__": lambda self: self,
        "__exit__": lambda self, *args: None,
        "__module__": "stand_ins",
    }
    return _Meta(name, (), body)


class _Module(types.ModuleType):
    def __getattr__(self, name):
        if name == "__version__":
            return "99.0.0"
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if self.__path__ and importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            # A real submodule of a package whose own __init__ is left out.
            return importlib.import_module(f"{self.__name__}.{name}")
        made = _stand_in(name)
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Comes last: only what nothing else finds is stood in for."""

    def __init__(self, real_packages, stood_in):
        self.real_packages = real_packages
        self.stood_in = stood_in
        self.made = set()

    def find_spec(self, fullname, path=None, target=None):
        root = fullname.split(".")[0]
        if any(fullname == name or fullname.startswith(name + ".") for name in self.stood_in):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if root in self.real_packages:
            return self._spec(fullname) if fullname.rsplit(".", 1)[-1].startswith("_") else None
        if "." in fullname and root not in self.made:
            return None
        if root in sys.stdlib_module_names or root in ("org", "java"):
            return None
        self.made.add(root)
        return self._spec(fullname)

    def _spec(self, fullname):
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        module.__path__ = []


def install(folder, bare, stood_in=()):
    """Installs the hook.

    The packages of `bare` are imported from `folder` without their own `__init__`, which would load
    the whole engine. The modules of `stood_in`, and compiled modules, are replaced; no other module
    of the engine is.
    """
    importlib.metadata.version = _version_or_any(importlib.metadata.version)
    finder = _Finder({name.split(".")[0] for name in bare}, stood_in)
    sys.meta_path.insert(0, _First(finder))
    sys.meta_path.append(finder)
    for name in bare:
        module = _Module(name)
        module.__path__ = [f"{folder}/{name.replace('.', '/')}"]
        module.__version__ = "0"
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
    return finder


def _version_or_any(version):
    def lookup(name):
        try:
            return version(name)
        except importlib.metadata.PackageNotFoundError:
            return "99.0.0"

    return lookup


class _First(importlib.abc.MetaPathFinder):
    """Comes first: modules of the engine that are stood in for by name."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, fullname, path=None, target=None):
        if any(fullname == name or fullname.startswith(name + ".") for name in self.finder.stood_in):
            return self.finder.find_spec(fullname)
        return None
