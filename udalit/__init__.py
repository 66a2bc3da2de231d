__version__ = "0.1.0"

from udalit.api import API, _load_name

__all__ = list(API)

def __getattr__(name): return _load_name(name)

def __dir__(): return [*globals(), *API]
