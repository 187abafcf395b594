"""Drivers of object stores and databases, of which no installation has all: what an address lacks is known at once."""

from importlib.util import find_spec
from urllib.parse import urlsplit

from records.errors import WrongInput


def require_remote(address: str) -> None:
    """Raise `WrongInput` if DVC cannot use a remote at `address`: a scheme that it does not know, or one whose driver
    is not installed here. A folder needs none."""
    scheme, separator, _ = address.partition("://")
    if not separator or scheme == "file":
        return
    from dvc_objects.fs import known_implementations

    if scheme not in known_implementations:
        known = ", ".join(sorted({*known_implementations} - {"local", "memory"}))
        raise WrongInput(f"DVC knows no remote at {scheme}://. It knows folders, and {known}.")
    package = known_implementations[scheme]["class"].split(".")[0]
    if find_spec(package) is None:
        raise WrongInput(_lacking(f"A DVC remote at {scheme}://", package.replace("_", "-")))


def require_database(address: str) -> None:
    """Raise `WrongInput` if `address` is that of a database whose driver is not installed here; no other needs one."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    if urlsplit(address).scheme.startswith("http"):
        return
    try:
        make_url(address).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        package = {"psycopg2": "psycopg2-binary"}.get(error.name or "", error.name or "its driver")
        raise WrongInput(_lacking(f"MLflow at {urlsplit(address).scheme}://", package)) from None
    except (ArgumentError, NoSuchModuleError) as error:
        raise WrongInput(f"MLflow cannot use that address: {error}.") from None


def _lacking(what: str, package: str) -> str:
    return (
        f"{what} needs the package `{package}`, which is not installed here. Install it where retain is "
        f"(`uv pip install {package}`) and try again."
    )
