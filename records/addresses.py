"""`workspace.json`: what is set once for all commands and workers of a workspace.

It is committed, so no secret may stand in it: those come from the environment of whoever starts a process.
"""

from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Field, ValidationInfo, field_validator

from records.record import Record

SECRET = ("password", "passwd", "passphrase", "pwd", "token", "secret", "key", "sig", "signature", "credential")
"""Words in the name of an address' parameter whose value nobody else may read (`?sslpassword=`, `?access_token=`)."""
INSTEAD = {
    "mlflow": "in the environment, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for a server, PGPASSWORD for "
    "PostgreSQL, or the whole address as MLFLOW_TRACKING_URI",
    "prefect": "in the environment, PREFECT_API_AUTH_STRING",
    "artifacts": "in the environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3://, or the whole address as "
    "RETAIN_ARTIFACTS",
}
"""Where the secret of an address belongs."""


class WorkspaceFile(Record):
    """The whole file. One that is not there says the same as an empty one."""

    mlflow: str | None = None
    """Address of MLflow's registry; a SQLite file below `.retain` if there is none."""
    prefect: str | None = None
    """Address of Prefect's API; each command starts a server of its own if there is none."""
    artifacts: str | None = None
    """Where a new experiment keeps its models, if MLflow's address is a database: a folder, or s3://..."""
    split_key: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """Decides, with an image, whether it is for training or for tests: 32 hex digits. None: the image alone does."""

    @field_validator("mlflow", "prefect", "artifacts")
    @classmethod
    def _tells_no_secret(cls, address: str | None, field: ValidationInfo) -> str | None:
        if address is not None and tells_secret(address):
            raise ValueError(
                "the address holds a user, password or token, and it would be committed. Leave that out of the "
                f"address, and give it to whoever runs a command or worker: {INSTEAD[str(field.field_name)]}."
            )
        return address

    @field_validator("prefect")
    @classmethod
    def _is_a_web_address(cls, address: str | None) -> str | None:
        if address is not None and not address.startswith(("http://", "https://")):
            raise ValueError("the address of Prefect's API is like http://host:4200/api.")
        return address


def tells_secret(address: str) -> bool:
    """True if somebody who reads the address can sign in with what it says."""
    parts = _parts(address)
    if parts is None:
        return "@" in address
    # A database and SSH want the name of a user in their address; to a web server it is half of a secret, or a whole.
    signs_in = parts.password is not None or (parts.scheme in ("http", "https") and parts.username is not None)
    return signs_in or any(_names_secret(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))


def shown(address: str) -> str:
    """The address as it may be printed: without user, password and parameters."""
    parts = _parts(address)
    if parts is None or (parts.hostname is None and "@" in address):
        return address.rpartition("@")[2]
    if parts.hostname is None:
        return address
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _parts(address: str) -> SplitResult | None:
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _names_secret(name: str) -> bool:
    words = name.lower().replace("-", "_").split("_")
    return any(word.endswith(SECRET) for word in words)
